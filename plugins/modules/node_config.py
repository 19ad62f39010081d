#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_config
short_description: Files, links, kernel settings, routes and units of a node, in one call
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Compares a node with its declaration and corrects what differs, in the order of the options below.
  - A task per file costs about half a second per node and file; a cluster node has a dozen of them, and most
    runs find them unchanged. Here all of them are one task.
  - Nothing is restarted. Running units whose watched paths changed are returned as C(outdated_units), for a
    handler.
options:
  packages:
    description: Debian packages that have to be there. Missing ones are returned, not installed.
    type: list
    elements: str
    default: []
  files:
    description: Files with their content.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where.
        type: str
        required: true
      content:
        description: The whole content. Of files that only root may read nothing is shown in a diff.
        type: str
        required: true
      mode:
        description: Permissions in octal.
        type: str
        default: "0644"
  links:
    description: Symbolic links. Targets that are not on the node are returned, not linked.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The link.
        type: str
        required: true
      target:
        description: What it points at.
        type: str
        required: true
  kernel_modules:
    description: Kernel modules to load where they are neither loaded nor built in.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel settings of the running system. To keep them, declare a file below /etc/sysctl.d as
      well.
    type: dict
    default: {}
  routes:
    description: Routes of the running system.
    type: list
    elements: dict
    default: []
    suboptions:
      destination:
        description: Network, as CIDR.
        type: str
        required: true
      via:
        description: Neighbour that leads to it.
        type: str
        required: true
  units:
    description: Systemd units. They are left alone as long as packages or link targets are missing.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Full name of the unit.
        type: str
        required: true
      enabled:
        description: Whether it is to be enabled.
        type: bool
        default: true
      started:
        description: Whether it is to be started when it does not run.
        type: bool
        default: true
      watches:
        description: Paths, among files and links above, whose change makes a running unit outdated.
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description: Returns the steps that would be taken.
    support: full
  diff_mode:
    description: Files, but not those that only root may read.
    support: full
  idempotent:
    description: A second run takes no step.
    support: full
"""

EXAMPLES = r"""
- name: The container runtime of a node
  celeryops.platform.node_config:
    packages: [runc]
    files:
      - path: /etc/containerd/config.toml
        content: "version = 3\n"
    units:
      - name: containerd.service
        watches: [/etc/containerd/config.toml]
  register: runtime
  notify: Restart what is outdated
"""

RETURN = r"""
actions:
  description: The steps taken, or, in check mode, that would be; after a failure those that were.
  returned: always
  type: list
  elements: str
  sample: [write /etc/containerd/config.toml, start containerd.service]
changed_paths:
  description: Files and links that changed.
  returned: always
  type: list
  elements: str
  sample: [/etc/containerd/config.toml]
missing_targets:
  description: Link targets that are not on the node.
  returned: always
  type: list
  elements: str
  sample: [/srv/bin/kubelet]
missing_packages:
  description: Packages that are not installed.
  returned: always
  type: list
  elements: str
  sample: [runc]
outdated_units:
  description: Running units that were started before one of their watched paths changed.
  returned: always
  type: list
  elements: str
  sample: [containerd.service]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import (
    File,
    Link,
    Outcome,
    Route,
    Unit,
    apply,
)

STR = {"type": "str", "required": True}
FLAG = {"type": "bool", "default": True}
NAMES = {"type": "list", "elements": "str", "default": []}


def items(options: dict) -> dict:
    return {"type": "list", "elements": "dict", "default": [], "options": options}


SPEC = {
    "packages": NAMES,
    "files": items({"path": STR, "content": STR, "mode": {"type": "str", "default": "0644"}}),
    "links": items({"path": STR, "target": STR}),
    "kernel_modules": NAMES,
    "sysctls": {"type": "dict", "default": {}},
    "routes": items({"destination": STR, "via": STR}),
    "units": items({"name": STR, "enabled": FLAG, "started": FLAG, "watches": NAMES}),
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    outcome = Outcome()
    try:
        apply(
            packages=params["packages"],
            files=[File(**item) for item in params["files"]],
            links=[Link(**item) for item in params["links"]],
            kernel_modules=params["kernel_modules"],
            sysctls=params["sysctls"],
            routes=[Route(**item) for item in params["routes"]],
            units=[Unit(**{**item, "watches": tuple(item["watches"])}) for item in params["units"]],
            check=module.check_mode,
            outcome=outcome,
        )
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **outcome.dump())
    module.exit_json(**outcome.dump())


if __name__ == "__main__":
    main()
