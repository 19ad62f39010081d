#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_nodes_info
short_description: The nodes of a k3s cluster, asked on a server
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Asks the API server of the k3s server it runs on, with the credentials that k3s left there. It needs nothing but
    Python, and no kubeconfig on the controller.
  - A host without a running API server is no failure unless there is something to wait for.
options:
  nodes:
    description: Nodes to wait for.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      version:
        description: Version that its kubelet has to run; any without it.
        type: str
        default: ""
      since:
        description: Seconds since 1970 after which its kubelet must have been heard of. A node counts as ready for a
          while after its kubelet has stopped.
        type: float
        default: 0
  timeout:
    description: Seconds to wait.
    type: int
    default: 300
extends_documentation_fragment:
  - celeryops.platform.read_only.waiting
"""

EXAMPLES = r"""
- name: Wait for the node
  celeryops.platform.k3s_nodes_info:
    nodes:
      - name: agent-1
        version: v1.33.4+k3s1
  delegate_to: server-1
"""

RETURN = r"""
nodes:
  description: The nodes by the API server's account; C(heard) is when its kubelet was heard of last.
  returned: always
  type: list
  elements: dict
  sample:
    - name: agent-1
      ready: true
      reason: kubelet is posting ready status
      version: v1.33.4+k3s1
      heard: 1767225600.5
      server: false
      etcd: false
unmet:
  description: What is missing until all of I(nodes) are ready, or why nothing is known.
  returned: always
  type: list
  elements: str
  sample: [node agent-1 has not joined]
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import Layout
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.nodes import Wanted, unmet
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.wait import read_nodes, wait_for_nodes
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

NODE = {
    "name": {"type": "str", "required": True},
    "version": {"type": "str", "default": ""},
    "since": {"type": "float", "default": 0},
}
SPEC = {
    "nodes": {"type": "list", "elements": "dict", "default": [], "options": NODE},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    wanted = [Wanted(**one) for one in module.params["nodes"]]

    def info(result: dict) -> None:
        if wanted and not module.check_mode:
            wait_for_nodes(Layout(), wanted, timeout=module.params["timeout"], result=result)
            return
        found = read_nodes(Layout())
        result["nodes"] = [asdict(one) for one in found or []]
        result["unmet"] = ["the API server does not answer"] if found is None else unmet(found, wanted)

    run_module(module, info, nodes=[], unmet=[])


if __name__ == "__main__":
    main()
