# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian packages that the controller lacks, without a task."""

from __future__ import annotations

DOCUMENTATION = r"""
name: missing_packages
short_description: Debian packages that the controller lacks
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Asks dpkg on the controller which packages are not installed, on every call. A module would cost twenty times as
    much, most of it for its own start.
options:
  _terms:
    description: Names of packages.
    required: true
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Install what is missing
  ansible.builtin.apt:
    name: "{{ query('celeryops.platform.missing_packages', 'podman', 'openssh-client') }}"
  become: true
"""

RETURN = r"""
_raw:
  description: The packages that are not installed, in the order in which they were named.
  type: list
  elements: str
"""

import subprocess
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        self.set_options(var_options=variables, direct=kwargs)
        # It ends with 1 when it does not know one of them, and prints the others.
        argv = ["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Package}\n", "--", *map(str, terms)]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        except OSError as error:
            raise AnsibleError(f"expected a Debian controller, found no dpkg-query: {error}") from error
        if done.returncode not in (0, 1):
            raise AnsibleError(f"dpkg-query ended with {done.returncode}: {done.stderr.strip()}")
        installed = {line.removeprefix("installed ") for line in done.stdout.splitlines()}
        return [name for name in terms if name not in installed]
