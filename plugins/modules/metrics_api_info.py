#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: metrics_api_info
short_description: Whether the cluster serves the resource metrics API, and who brought it
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Autoscalers that go by CPU or memory, and C(kubectl top), learn from this API what pods use. metrics-server
    serves it.
  - What the module finds fails no task; RV(problem) says it.
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    description: It never changes anything. In check mode a cluster that is not there yet is no failure.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: See whether autoscalers would learn anything
  celeryops.platform.metrics_api_info:
  register: metrics

- name: Stop where they would not
  ansible.builtin.assert:
    that: metrics.problem | length == 0
    fail_msg: "{{ metrics.problem }}"
"""

RETURN = r"""
registered:
  description: Whether the API is registered.
  type: bool
  returned: always
  sample: true
ours:
  description: Whether this collection registered it.
  type: bool
  returned: always
  sample: false
problem:
  description: Why it does not answer; empty where it does.
  type: str
  returned: always
  sample: ""
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.metrics_api import look
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import NoClusterError, connect
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module


def main() -> None:
    module = AnsibleModule(argument_spec=KUBE_ARGS, supports_check_mode=True)

    def find(result: dict[str, Any]) -> None:
        try:
            result.update(asdict(look(connect(module.params))))
        except NoClusterError as reason:
            if not module.check_mode:
                raise
            result["problem"] = str(reason)

    run_module(module, find, registered=False, ours=False, problem="")


if __name__ == "__main__":
    main()
