#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: One named context in a kubeconfig
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Takes the current context of a kubeconfig that a cluster wrote and puts it, under a name of its own, into another
    kubeconfig, or takes it out again. All other contexts, clusters and users stay as they are.
  - Context, cluster and user bear the same name. Where another context uses a cluster or user of that name, nothing is
    changed and the module fails.
options:
  name:
    description: Name of the context.
    type: str
    required: true
  path:
    description: The kubeconfig to change. It is made when it is not there.
    type: path
    default: ~/.kube/config
  content:
    description: The kubeconfig whose current context is taken. Needed for I(state=present).
    type: str
  server:
    description: Address of the API server that takes the place of the one in I(content).
    type: str
    default: ""
  namespace:
    description: Namespace of the context.
    type: str
    default: ""
  current:
    description: Whether the context becomes the current one - C(always), only where none is (C(unset)), or C(never).
    type: str
    choices: [always, unset, never]
    default: unset
  state:
    description: Whether the context is to be there.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says whether the file would change.
    support: full
  diff_mode:
    description: The names of contexts before and after; what else is in there is secret.
    support: full
  idempotent:
    description: A file that says the same is not written.
    support: full
requirements:
  - PyYAML
"""

EXAMPLES = r"""
- name: Reach the cluster from here
  celeryops.platform.kubeconfig:
    name: production
    content: "{{ admin_conf.content | b64decode }}"
    server: https://k3s.example.org:6443
  delegate_to: localhost
  no_log: true
"""

RETURN = r"""
path:
  description: The kubeconfig.
  returned: always
  type: str
  sample: /home/me/.kube/config
contexts:
  description: The names of all contexts in it afterwards.
  returned: always
  type: list
  elements: str
  sample: [production, laptop]
current:
  description: The current context afterwards.
  returned: always
  type: str
  sample: production
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._kubeconfig import merge, store
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

SPEC = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path", "default": "~/.kube/config"},
    "content": {"type": "str", "no_log": True},
    "server": {"type": "str", "default": ""},
    "namespace": {"type": "str", "default": ""},
    "current": {"type": "str", "choices": ["always", "unset", "never"], "default": "unset"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}


def contexts(config: dict) -> list[str]:
    return [one["name"] for one in config.get("contexts") or []]


def converge(params: dict, check: bool, result: dict) -> None:
    path, name = Path(params["path"]), params["name"]
    before = store.read(path)
    if params["state"] == "present":
        source = store.parse(params["content"], "What was given")
        added = merge.single(source, name=name, server=params["server"], namespace=params["namespace"])
        after = merge.present(before, added, name=name, current=params["current"], path=str(path))
    else:
        after = merge.absent(before, name=name, path=str(path))
    result["contexts"] = contexts(after)
    result["current"] = after.get("current-context") or ""
    result["changed"] = after != (before or {})
    result["diff"] = {"before": {"contexts": contexts(before or {})}, "after": {"contexts": contexts(after)}}
    if result["changed"] and not check:
        store.write(path, after)


def main() -> None:
    module = AnsibleModule(
        argument_spec=SPEC, required_if=[("state", "present", ["content"])], supports_check_mode=True
    )
    if not store.AVAILABLE:
        module.fail_json(msg=missing_required_lib("PyYAML"))
    params = module.params
    run_module(
        module,
        lambda result: converge(params, module.check_mode, result),
        path=params["path"],
        contexts=[],
        current="",
        diff={},
    )


if __name__ == "__main__":
    main()
