# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables of this collection's roles as those roles see them, asked for from outside."""

from __future__ import annotations

DOCUMENTATION = r"""
name: role_variable
short_description: A variable as a role of this collection would see it
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Gives the value of a role's variable where the role itself does not run - from the inventory where it is set there,
    otherwise from the role's defaults, with the role's constants at hand for templates.
options:
  _terms:
    description: Names of variables. The role is the one whose name they begin with.
    required: true
    type: list
    elements: str
  default:
    description: What to give where the value cannot be resolved. Without it that is an error.
    type: raw
"""

EXAMPLES = r"""
- name: Say how many workers there will be
  ansible.builtin.debug:
    msg: "{{ lookup('celeryops.platform.role_variable', 'celery_worker_replicas') }}"
"""

RETURN = r"""
_raw:
  description: The values.
  type: list
  elements: raw
"""

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

ROLES = Path(__file__).resolve().parents[2] / "roles"

# Ansible's loader gives a deep copy of a file each time. This process ends with its task, and so does what it has read.
_files: dict[str, dict[str, Any]] = {}


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=kwargs)
        return [self._value(term, dict(variables or {}), kwargs) for term in terms]

    def _value(self, name: str, variables: dict[str, Any], options: dict[str, Any]) -> Any:
        roles = [folder for folder in ROLES.iterdir() if name.lstrip("_").startswith(f"{folder.name}_")]
        if not roles:
            raise AnsibleError(f"'{name}' begins with the name of no role of this collection")
        role = max(roles, key=lambda folder: len(folder.name))
        seen = {
            **self._read(role / "defaults/main.yml"),
            **variables,
            **self._read(role / "vars/main.yml"),
            "role_path": str(role),
            "role_name": role.name,
        }
        try:
            return self._templar.copy_with_new_env(available_variables=seen).template(seen[name])
        except (AnsibleError, KeyError):
            if "default" in options:
                return options["default"]
            raise

    def _read(self, path: Path) -> dict[str, Any]:
        name = str(path)
        if name not in _files:
            read = self._loader.load_from_file(name, trusted_as_template=True) if path.is_file() else {}
            _files[name] = read or {}
        return _files[name]
