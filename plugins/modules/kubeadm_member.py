#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_member
short_description: Make this node the first of a cluster, or a member of one, with kubeadm
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Runs on the node. It reads what kubeadm left there and goes on from it, so that an interrupted run is
    completed by running again.
  - An unfinished C(kubeadm init) is repeated over its own traces, or, where etcd holds no data yet, reset
    and begun anew. An unfinished C(kubeadm join) is reset and begun anew. Data of etcd is kept unless
    I(reset) is set.
options:
  action:
    description: Whether this node begins the cluster or joins it.
    type: str
    choices: [init, join]
    required: true
  config:
    description:
      - Configuration for C(kubeadm init) or C(kubeadm join). A join finds the API server by the file
        C(/run/celeryops-discovery.conf), which this module provides while kubeadm runs.
    type: str
    required: true
  endpoint:
    description: Host and port of the API server to join.
    type: str
  ca:
    description: CA certificate of the cluster to join, in PEM, as I(action=init) returns it.
    type: str
  ignore_preflight_errors:
    description: Checks of kubeadm whose failure is accepted.
    type: list
    elements: str
    default: []
  reset:
    description: Throw away what is left of another cluster, or of this one, where going on from it is not
      possible.
    type: bool
    default: false
  timeout:
    description: Seconds for each of kubeadm's runs, and for an API server that is still starting.
    type: int
    default: 300
attributes:
  check_mode:
    description: Returns the steps that would be taken.
    support: full
  diff_mode:
    description: There is nothing to compare but the steps.
    support: none
  idempotent:
    description: A finished member is left alone.
    support: full
"""

EXAMPLES = r"""
- name: The first node
  celeryops.platform.kubeadm_member:
    action: init
    config: "{{ lookup('ansible.builtin.template', 'init.yml.j2') }}"
"""

RETURN = r"""
steps:
  description: What was done, or, in check mode, would be; C(nothing) for a finished member.
  returned: always
  type: list
  elements: str
  sample: [reset, init]
ca:
  description: CA certificate of the cluster, in PEM; empty where there is none yet.
  returned: always
  type: str
  sample: "-----BEGIN CERTIFICATE-----..."
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node import kubeadm, membership
from ansible_collections.celeryops.platform.plugins.module_utils._node.api import CA, private_file

SPEC = {
    "action": {"type": "str", "choices": ["init", "join"], "required": True},
    "config": {"type": "str", "required": True, "no_log": True},
    "endpoint": {"type": "str"},
    "ca": {"type": "str"},
    "ignore_preflight_errors": {"type": "list", "elements": "str", "default": []},
    "reset": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 300},
}


def sync(params: dict, check: bool, result: dict) -> None:
    timeout = params["timeout"]
    with kubeadm.exclusive(timeout):
        found = kubeadm.observe(timeout=0 if check else min(timeout, 90))
        if params["action"] == "init":
            steps = membership.plan_init(found, reset=params["reset"])
        else:
            steps = membership.plan_join(found, ca=params["ca"], reset=params["reset"])
        result["ca"] = found.ca
        if check:
            result.update(changed=steps != [membership.NOTHING], steps=steps)
            return
        discovery = kubeadm.discovery(params["endpoint"], params["ca"]) if params["action"] == "join" else ""
        with (
            private_file("celeryops-kubeadm.yaml", params["config"]) as config,
            private_file("celeryops-discovery.conf", discovery),
        ):
            for step in steps:
                kubeadm.carry_out(step, config=config, ignore=params["ignore_preflight_errors"], timeout=timeout)
                result["steps"].append(step)
                result["changed"] = step != membership.NOTHING
        result["ca"] = CA.read_text(encoding="ascii")


def main() -> None:
    module = AnsibleModule(
        argument_spec=SPEC, required_if=[("action", "join", ("endpoint", "ca"))], supports_check_mode=True
    )
    result = {"changed": False, "steps": [], "ca": ""}
    try:
        sync(module.params, module.check_mode, result)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
