#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_cluster_info
short_description: State of a kubeadm cluster, asked on a control-plane node
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Asks the API server of the control-plane node it runs on, with the credentials that kubeadm left there. It
    needs nothing but Python, and no kubeconfig on the controller.
  - A node that is no control plane yet is no failure; C(initialised) is false then.
options:
  nodes:
    description: Names of the nodes that the cluster is to have.
    type: list
    elements: str
    default: []
  wait_for:
    description:
      - C(members) waits until I(nodes) have joined and each has a pod CIDR; C(ready) until they are ready too
        and CoreDNS is available. When that does not come, the module fails and says what is missing.
    type: str
    choices: [nothing, members, ready]
    default: nothing
  timeout:
    description: Seconds to wait.
    type: int
    default: 120
extends_documentation_fragment:
  - celeryops.platform.read_only.waiting
"""

EXAMPLES = r"""
- name: Wait for the cluster
  celeryops.platform.kubeadm_cluster_info:
    nodes: "{{ groups['k8s_cluster'] }}"
    wait_for: ready
  register: cluster
"""

RETURN = r"""
initialised:
  description: Whether there is a cluster here, and kubeadm init came to its end.
  returned: always
  type: bool
  sample: true
complete:
  description: Whether all of I(nodes) are ready members and CoreDNS is available.
  returned: always
  type: bool
  sample: true
unmet:
  description: What is missing to that.
  returned: always
  type: list
  elements: str
  sample: [node worker-2 has not joined]
version:
  description: Version of the running API server.
  returned: always
  type: str
  sample: v1.36.3
nodes:
  description:
    - The nodes by the API server's account. C(serving) says why the kubelet's serving certificate must be signed anew;
      it is empty for one of the cluster's own authority.
  returned: always
  type: list
  elements: dict
  sample:
    - name: cp-1
      address: 10.89.60.11
      pod_cidr: 10.42.0.0/24
      ready: true
      reason: kubelet is posting ready status
      version: v1.36.3
      runtime: containerd://v2.2.3
      serving: ""
corefile:
  description: CoreDNS's configuration.
  returned: always
  type: str
  sample: ".:53 {}"
fingerprint:
  description: SHA-256 of the administrator's client certificate in C(admin.conf).
  returned: always
  type: str
  sample: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node.survey import survey

SPEC = {
    "nodes": {"type": "list", "elements": "str", "default": []},
    "wait_for": {"type": "str", "choices": ["nothing", "members", "ready"], "default": "nothing"},
    "timeout": {"type": "int", "default": 120},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    result: dict = {"changed": False}
    try:
        survey(
            module.params["nodes"],
            wait_for="nothing" if module.check_mode else module.params["wait_for"],
            timeout=module.params["timeout"],
            result=result,
        )
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
