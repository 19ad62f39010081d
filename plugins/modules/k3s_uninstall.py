#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_uninstall
short_description: Takes k3s off a host
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Stops k3s and its pods and removes everything of it - service, program, configuration, data, mounts, network
    interfaces and firewall rules, also of an installation that k3s' own script has made.
  - The node remains in the cluster's list of nodes; see playbook C(k3s_uninstall).
  - A file system that an administrator mounted as k3s' data folder, or as one of the folders in it, is emptied and
    stays mounted.
options: {}
attributes:
  check_mode:
    description: Returns the steps that would be taken.
    support: full
  diff_mode:
    description: The steps are in the result.
    support: none
  idempotent:
    description: On a host without a trace of k3s nothing is done.
    support: full
"""

EXAMPLES = r"""
- name: Take k3s off the host
  celeryops.platform.k3s_uninstall:
"""

RETURN = r"""
actions:
  description: The steps taken, or, in check mode, that would be; after a failure those that were begun.
  returned: always
  type: list
  elements: str
  sample: [stop and disable k3s.service, end 3 pods, remove /var/lib/rancher/k3s]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import Layout
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.uninstall import remove
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module


def main() -> None:
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    run_module(module, lambda result: remove(Layout(), check=module.check_mode, result=result), actions=[])


if __name__ == "__main__":
    main()
