#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_validate
short_description: Prove that a Celery platform works, check by check
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Looks at the Deployments and pods of workers and beat, then asks the application itself, from inside one
    worker pod and with the settings that this pod has. That the broker is the master, on several new
    connections; that every worker answers; that each queue has a consumer; that a task sent through each
    queue returns its result; that a task which beat sent ran and its entry's last run advanced.
  - Each check tells its evidence, and what to do when it failed.
  - Evidence of beat may be recent, that is younger than two intervals of the entry. Only without any is it
    waited for.
  - Also that the images of all pods are the same; that the Secrets they need are there; that C(manage.py check) has no
    errors; that the broker's URL and the queues are what the application was given; that results can be kept; that
    what waits is worked on; that the schedule is the declared one; and that a node could be drained.
  - The tasks sent are the application's own test task; nothing else is changed. In check mode, or without
    O(send_tasks), no task is sent. In check mode nothing is waited for, and what is not there yet fails no play.
options:
  namespace:
    description: Namespace of the workers and of beat.
    type: str
    required: true
  workers:
    description: Names of the workers' Deployments, one for each pool.
    type: list
    elements: str
    default: [celery-worker]
  settings:
    description: Celery settings by Deployment, as they were given to its workers. C(inspect conf) reads back what is in
      effect.
    type: dict
    default: {}
  beat:
    description: Name of beat's Deployment; empty for an application without a scheduler.
    type: str
    default: celery-beat
  app:
    description: The Celery application, as for C(celery -A).
    type: str
    required: true
  queues:
    description: The queues that must work.
    type: list
    elements: str
    required: true
  task:
    description: Name of a task of the application that does no harm and returns a result.
    type: str
    default: config.celery.debug_task
  send_tasks:
    description: Whether to send O(task) through each queue.
    type: bool
    default: true
  schedule:
    description: Entries of the schedule as role C(celery_app) declares them, to compare with the live ones.
    type: list
    elements: dict
    default: []
  junit_path:
    description: Where to write the checks as JUnit XML, for a CI to show. Writing it is no change.
    type: path
  python:
    description: The Python in the worker's image that has Celery.
    type: str
    default: python
  task_timeout:
    description: Seconds for all results to arrive.
    type: float
    default: 20
  beat_timeout:
    description: Seconds to wait for a task from beat where there is no recent one.
    type: float
    default: 150
  beat_lag:
    description: Seconds by which beat may write an entry's last run late; 180 is beat's own default.
    type: float
    default: 180
  max_ratio:
    description: Largest ratio of limit to request of each container.
    type: dict
    suboptions:
      cpu:
        description: For CPU.
        type: float
        default: 2
      memory:
        description: For memory.
        type: float
        default: 2
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    description: Reads only. A check that would have to send a task is left open, with C(passed) null.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
  idempotent:
    description: Never reports a change.
    support: full
"""

EXAMPLES = r"""
- name: Prove that the platform works
  celeryops.platform.celery_validate:
    namespace: jewelry-shop
    app: config
    queues: [celery, backups, pricing, reports, notifications, accounting, monitoring, webhooks]
"""

RETURN = r"""
passed:
  description: Whether no check failed.
  type: bool
  returned: always
  sample: true
checks:
  description: The checks in the order of the report.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: What is checked.
      type: str
    passed:
      description: The outcome; null where the check could not or must not be made.
      type: bool
    evidence:
      description: What was found.
      type: str
    remedy:
      description: What to do; null for a check that passed.
      type: str
  sample:
    - name: workers running
      passed: true
      evidence: "3 of 3 ready: celery-worker-7c9-4x2 on local-worker-1"
      remedy: null
pods:
  description: Where things run.
  type: list
  elements: dict
  returned: always
  sample:
    - {component: worker, name: celery-worker-7c9-4x2, node: local-worker-1, ready: true, restarts: 0}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._celery.validate import validate
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS = {
    "namespace": {"type": "str", "required": True},
    "workers": {"type": "list", "elements": "str", "default": ["celery-worker"]},
    "settings": {"type": "dict", "default": {}},
    "beat": {"type": "str", "default": "celery-beat"},
    "app": {"type": "str", "required": True},
    "queues": {"type": "list", "elements": "str", "required": True},
    "task": {"type": "str", "default": "config.celery.debug_task"},
    "send_tasks": {"type": "bool", "default": True},
    "schedule": {"type": "list", "elements": "dict", "default": []},
    "junit_path": {"type": "path"},
    "python": {"type": "str", "default": "python"},
    "task_timeout": {"type": "float", "default": 20},
    "beat_timeout": {"type": "float", "default": 150},
    "beat_lag": {"type": "float", "default": 180},
    "max_ratio": {
        "type": "dict",
        "apply_defaults": True,
        "options": {"cpu": {"type": "float", "default": 2}, "memory": {"type": "float", "default": 2}},
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    run_module(
        module,
        lambda result: validate(module.params, result, check_mode=module.check_mode),
        passed=False,
        checks=[],
        pods=[],
    )


if __name__ == "__main__":
    main()
