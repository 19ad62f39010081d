#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_dead_letters
short_description: Send dead letters again, or throw them away
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - A task that killed its process more often than C(celery_worker_redelivery_limit) of role C(celery_worker) allows is
    kept as a dead letter. This module sends such tasks again, to the queue and priority that each came from, or throws
    them away.
  - Each letter is moved in one step inside Redis, so it is never lost and never sent twice, whoever else does the same.
  - A task that is sent again has a clean record. Callers that had waited for it were told of its failure.
options:
  state:
    description:
      - V(requeued) sends the letters again, at the end of their queues.
      - V(purged) throws them away for good.
    type: str
    choices: [requeued, purged]
    required: true
  ids:
    description: The letters of these tasks, by task id. Ids that are no dead letters are passed over.
    type: list
    elements: str
  all:
    description: Every letter.
    type: bool
    default: false
  task:
    description: Of those, only letters of this task, by its name.
    type: str
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.worker_pod
attributes:
  check_mode:
    description: Tells which letters would be moved; a machine without a cluster has none.
    support: full
  diff_mode:
    description: Shows id, task, queue and time of the letters before and after. Never an argument.
    support: full
  idempotent:
    description: Letters that are gone already are no change.
    support: full
seealso:
  - module: celeryops.platform.celery_dead_letters_info
"""

EXAMPLES = r"""
- name: Try the reports again, now that their pool has more memory
  celeryops.platform.celery_dead_letters:
    namespace: jewelry-shop
    app: config
    state: requeued
    all: true
    task: apps.reporting.tasks.daily

- name: Throw one away
  celeryops.platform.celery_dead_letters:
    namespace: jewelry-shop
    app: config
    state: purged
    ids: [6a8f3a56-5d0e-4a4f-9c6f-3f0a6f3f9d51]
"""

RETURN = r"""
letters:
  description: The letters that were moved, or would be, as M(celeryops.platform.celery_dead_letters_info) tells them
    without their arguments.
  type: list
  elements: dict
  returned: always
  sample:
    - {id: 6a8f3a56-5d0e-4a4f-9c6f-3f0a6f3f9d51, task: apps.reporting.tasks.daily, queue: reports, priority: 3}
left:
  description: How many dead letters there are afterwards.
  type: int
  returned: always
  sample: 0
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._celery.argspec import WORKER_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._celery.letters import converge
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS = {
    "state": {"type": "str", "choices": ["requeued", "purged"], "required": True},
    "ids": {"type": "list", "elements": "str"},
    "all": {"type": "bool", "default": False},
    "task": {"type": "str"},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**KUBE_ARGS, **WORKER_ARGS, **ARGS},
        # all: false beside no ids at all would mean nothing.
        required_if=[("all", False, ("ids",))],
        supports_check_mode=True,
    )
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    run_module(
        module,
        lambda result: converge(module.params, result, check_mode=module.check_mode),
        letters=[],
        left=0,
        diff={"before": "", "after": ""},
    )


if __name__ == "__main__":
    main()
