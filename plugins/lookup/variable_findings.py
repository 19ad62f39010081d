# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every variable of the inventory against the options that the collection's roles declare."""

from __future__ import annotations

DOCUMENTATION = r"""
name: variable_findings
short_description: Variables of the inventory that no role takes, or not like this
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Holds the variables of all hosts, extra variables included, against the argument specifications of all roles of this
    collection - names that begin like a role but are none of its options, names that resemble an option, and values
    that an option refuses. What roles only find one after the other when they run is found at once.
options:
  _terms:
    description: Names of variables that are no options and all the same right.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Show what is wrong with the inventory
  ansible.builtin.debug:
    msg: "{{ query('celeryops.platform.variable_findings') }}"
"""

RETURN = r"""
_raw:
  description: Findings as M(celeryops.platform.preflight_info) returns them.
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.lookup import LookupBase

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.variables import unknown

ROLES = Path(__file__).resolve().parents[2] / "roles"
# Ansible's own loader notes where each value comes from, and takes ten times as long.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, str]]:
        self.set_options(var_options=variables, direct=kwargs)
        roles = {path.parents[1].name: _declared(path) for path in ROLES.glob("*/meta/argument_specs.yml")}
        hostvars = (variables or {})["hostvars"]
        hosts: dict[str, list[str]] = {}
        raw: dict[str, dict[str, Any]] = {}
        for host in hostvars:
            for name, value in hostvars.raw_get(host).items():
                hosts.setdefault(name, []).append(host)
                raw.setdefault(name, {})[host] = value
        named = {name: {*options, *terms} for name, options in roles.items()}
        findings = unknown({name: where for name, where in hosts.items() if not name.startswith("ansible_")}, named)
        for options in roles.values():
            for name in sorted(set(options) & set(raw)):
                findings += self._refused(name, options[name], raw[name], hostvars)
        return [finding.as_dict() for finding in findings]

    def _refused(self, name: str, specification: dict[str, Any], raw: dict[str, Any], hostvars: Any) -> list[Finding]:
        """What is wrong with an option's values; equal ones of several hosts are looked at once."""
        findings = []
        seen: list[Any] = []
        for host, text in raw.items():
            if text in seen:
                continue
            seen.append(text)
            variables = {**hostvars.raw_get(host), "hostvars": hostvars}
            templar = self._templar.copy_with_new_env(available_variables=variables)
            try:
                value = templar.template(text)
            except AnsibleError:
                # A value out of facts that are not there yet; its role will see it.
                continue
            for message in _errors(name, specification, value):
                remedy = f"Correct {name}; the role's argument specification describes it."
                expected = f"{name} ({specification.get('type', 'str')}) as its role takes it"
                findings.append(Finding("variable", expected, f"{message} (for {host})", remedy))
        return findings


def _declared(path: Path) -> dict[str, Any]:
    """The options of all entry points of a role."""
    specifications = (yaml.load(path.read_text(encoding="utf-8"), LOADER) or {}).get("argument_specs") or {}  # noqa: S506
    return {
        name: specification
        for entry in specifications.values()
        for name, specification in (entry.get("options") or {}).items()
    }


def _errors(name: str, specification: dict[str, Any], value: Any) -> list[str]:
    try:
        return list(ArgumentSpecValidator({name: _bare(specification)}).validate({name: value}).error_messages)
    except (TypeError, AttributeError):
        # The validator goes on into the parts of a value that it has just found to have none.
        return [f"{path} must be a mapping" for path in _flat(name, specification, value)]


def _flat(path: str, specification: dict[str, Any], value: Any) -> list[str]:
    """The places where the specification has parts and the value has none."""
    values = {path: value}
    if specification.get("type") == "list" and isinstance(value, list):
        values = {f"{path}[{number}]": element for number, element in enumerate(value)}
    found = []
    for place, part in values.items():
        if not isinstance(part, dict):
            found.append(place)
            continue
        for name, option in (specification.get("options") or {}).items():
            if part.get(name) is not None and ("options" in option or option.get("type") == "dict"):
                found += _flat(f"{place}.{name}", option, part[name])
    return found


def _bare(specification: dict[str, Any]) -> dict[str, Any]:
    """The specification without defaults, which may be templates, and without what only documents."""
    kept = {
        key: value for key, value in specification.items() if key not in ("default", "description", "version_added")
    }
    if "options" in kept:
        kept["options"] = {name: _bare(option) for name, option in kept["options"].items()}
    return kept
