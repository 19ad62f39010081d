#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_drill
short_description: Disturb workers under load and account for every task
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Sends tasks of different lengths, disturbs one Deployment of workers while they run, and counts what was sent, what
    ran, what ran twice and what was lost. Afterwards replicas and template of the Deployment are as before.
  - The tasks may be of any application. Workers with a lease (C(celery_worker_lease) of role C(celery_worker)) record
    the starts and ends of tasks that carry the drill's header; the task itself need not do anything but last.
  - A drill disturbs real work as well. It is refused without O(allowed), on a Deployment that is not well, and on one
    that an autoscaler scales.
options:
  allowed:
    description: That this platform may be disturbed.
    type: bool
    required: true
  drill:
    description:
      - V(worker_kill) kills all processes of a worker that runs tasks by SIGKILL, from its node. A privileged pod in
        the namespace C(celeryops-drill) does it, for which the cluster's API is all that is needed. The worker's pod
        is replaced afterwards.
      - V(rolling_update) replaces every pod.
      - V(eviction) evicts one pod, as a drain of its node does.
      - V(scale_in) adds a pod and takes one away.
    type: str
    choices: [worker_kill, rolling_update, eviction, scale_in]
    required: true
  repetitions:
    description: How often.
    type: int
    default: 1
  tasks:
    description: How many tasks are sent before each disturbance.
    type: int
    default: 60
  task:
    description: Name of the task, which does no harm however often it runs.
    type: str
    required: true
  argument:
    description: Name of its keyword argument that takes the seconds it is to last; empty for a task without.
    type: str
    default: hold
  queue:
    description: Queue to send to; empty for that of the task's route. The workers that are drilled must consume it.
    type: str
    default: ""
  shortest:
    description: Seconds that the shortest task lasts.
    type: float
    default: 0.1
  longest:
    description: Seconds that the longest task lasts. As many are short as long, on a logarithmic scale.
    type: float
    default: 30
  budget:
    description: What is allowed.
    type: dict
    suboptions:
      lost:
        description: Tasks that never ended. 0 by default.
        type: int
      run_twice:
        description: Tasks that were started more than once although no worker was killed under them. 0 by default.
        type: int
      elsewhere:
        description: Seconds from a kill until everything that the worker ran is started elsewhere. 60 by default.
        type: float
  timeout:
    description: Seconds for the Deployment to be well again after each disturbance.
    type: float
    default: 300
  drain:
    description: Seconds for every task to end after the last disturbance; what has not ended then is lost.
    type: float
    default: 300
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.worker_pod
attributes:
  check_mode:
    description: Looks whether the drill could be held; nothing is sent or disturbed.
    support: full
  diff_mode:
    description: Nothing stays different.
    support: none
  idempotent:
    description: It is an action; each run disturbs the workers again.
    support: none
notes:
  - The first of O(workers) is drilled.
"""

EXAMPLES = r"""
- name: Kill three workers under load
  celeryops.platform.celery_drill:
    namespace: jewelry-shop
    app: config
    task: config.celery.debug_task
    drill: worker_kill
    repetitions: 3
    allowed: "{{ drill_allowed }}"
"""

RETURN = r"""
drill:
  description: The kind of disturbance.
  type: str
  returned: always
  sample: worker_kill
budget:
  description: What was allowed.
  type: dict
  returned: always
  sample: {lost: 0, run_twice: 0, elsewhere: 60.0}
passed:
  description: Whether the budget was kept; null before the end.
  type: bool
  returned: always
  sample: true
problems:
  description: What was over the budget.
  type: list
  elements: str
  returned: always
  sample: []
sent:
  description: Tasks sent.
  type: int
  returned: always
  sample: 180
run:
  description: Tasks that ran to their end.
  type: int
  returned: always
  sample: 180
run_twice:
  description: Tasks that were started more than once.
  type: int
  returned: always
  sample: 9
run_twice_killed:
  description: Those of them that ran in a worker when it was killed.
  type: int
  returned: always
  sample: 9
lost:
  description: Tasks that did not end.
  type: int
  returned: always
  sample: 0
seconds_elsewhere:
  description: From a kill to the last start elsewhere of what the victim ran, in the slowest round; null without one.
  type: float
  returned: always
  sample: 34.2
rounds:
  description: Each disturbance. A kill tells the victim, its node, its exit code, how many of the drill's tasks it ran,
    and the seconds until all of these were started elsewhere.
  type: list
  elements: dict
  returned: always
  sample:
    - {victim: celery-worker-7c9-4x2, node: local-worker-1, exit_code: 137, active: 4, seconds_elsewhere: 33.1}
timeline:
  description: The course of the drill, by Redis' clock; of one that failed on the way, as far as workers recorded it.
  type: dict
  returned: always
  contains:
    begin:
      description: When the first task was sent, as a Unix time; null when none was.
      type: float
      sample: 1764280000.25
    samples:
      description: What had happened until so many C(seconds) since the begin. Tasks C(sent), those that had C(run) to
        their end, and those that were C(waiting), as nobody had started them or the worker that ran them was killed.
      type: list
      elements: dict
      sample: [{seconds: 12.4, sent: 60, run: 31, waiting: 17}]
    marks:
      description: The C(disturbance) and the C(recovery) of each round. A kill is recovered from when all that the
        victim ran is started elsewhere, any other disturbance when the Deployment is well again.
      type: list
      elements: dict
      sample: [{round: 1, what: disturbance, seconds: 2.1}, {round: 1, what: recovery, seconds: 35.2}]
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._celery.argspec import WORKER_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._drill.perform import budget_of, perform
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import nothing
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS: dict[str, Any] = {
    "allowed": {"type": "bool", "required": True},
    "drill": {
        "type": "str",
        "choices": ["worker_kill", "rolling_update", "eviction", "scale_in"],
        "required": True,
    },
    "repetitions": {"type": "int", "default": 1},
    "tasks": {"type": "int", "default": 60},
    "task": {"type": "str", "required": True},
    "argument": {"type": "str", "default": "hold"},
    "queue": {"type": "str", "default": ""},
    "shortest": {"type": "float", "default": 0.1},
    "longest": {"type": "float", "default": 30},
    "budget": {
        "type": "dict",
        "options": {"lost": {"type": "int"}, "run_twice": {"type": "int"}, "elsewhere": {"type": "float"}},
    },
    "timeout": {"type": "float", "default": 300},
    "drain": {"type": "float", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **WORKER_ARGS, **ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    run_module(
        module,
        lambda result: perform(module.params, result, check_mode=module.check_mode),
        drill=module.params["drill"],
        budget=asdict(budget_of(module.params)),
        passed=None,
        problems=[],
        sent=0,
        run=0,
        run_twice=0,
        run_twice_killed=0,
        lost=0,
        seconds_elsewhere=None,
        rounds=[],
        timeline=nothing(),
    )


if __name__ == "__main__":
    main()
