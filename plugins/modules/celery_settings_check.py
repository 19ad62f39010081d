#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_settings_check
short_description: Refuse settings of Celery pools that contradict each other
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Compares what the application says about itself (routes, queues, time limits, acknowledging, schedule) with the
    pools that are to run it and with what they run against (Redis, PostgreSQL and its pooler, the namespace's
    LimitRange).
  - Every queue that a route, a task or the schedule names needs a consumer, and every consumed queue a producer.
  - Each finding says what was found, why it matters and which variable to change. All of them are told at once. Errors
    fail the task, warnings do not.
  - Nothing is changed. Without O(survey) a short-lived pod of the application's image answers for it.
options:
  survey:
    description: What M(celeryops.platform.beat_schedule) returned as
      RV(celeryops.platform.beat_schedule#module:survey). It saves a pod.
    type: dict
  pools:
    description: The pools as they are going to be applied.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the pool.
        type: str
        required: true
      kind:
        description: How tasks run.
        type: str
        choices: [prefork, solo, threads, gevent, eventlet]
        default: prefork
      queues:
        description: Queues that it consumes.
        type: list
        elements: str
        required: true
      replicas:
        description: Number of pods; of an autoscaled pool the least.
        type: int
        required: true
      max_replicas:
        description: The most pods that an autoscaler may make; left out without one.
        type: int
      max_surge:
        description: Further pods during an update, as a number or a percentage.
        type: raw
        default: 0
      concurrency:
        description: Tasks at once in each pod.
        type: int
        required: true
      grace_period:
        description: Seconds between SIGTERM and SIGKILL.
        type: int
        default: 60
      min_available:
        description: Pods that a voluntary disruption must leave.
        type: int
        default: 0
      task_limit:
        description: Seconds that the probes let a task without a time limit hold the consumer of a solo pool.
        type: float
        default: 0
      settings:
        description: Celery settings of this pool, which go over those of the application.
        type: dict
        default: {}
      env:
        description: Environment of this pool, in Kubernetes form.
        type: list
        elements: dict
        default: []
      resources:
        description: Resources of the worker's container, in Kubernetes form.
        type: dict
        default: {}
      init_containers:
        description: Init containers, in Kubernetes form.
        type: list
        elements: dict
        default: []
      shm_size:
        description: Size of an in-memory /dev/shm; empty for none.
        type: str
        default: ""
  queues_waived:
    description: Queues whose consumers or producers are outside of this platform.
    type: list
    elements: str
    default: []
  longest_eta:
    description: The longest countdown or ETA in seconds that producers use.
    type: float
    default: 0
  pooler:
    description: The pooler that stands before the database; left out where there is none.
    type: dict
    suboptions:
      client_connections:
        description: Clients that one of its pods takes.
        type: int
        required: true
      pool_size:
        description: Connections that one of its pods opens to the database.
        type: int
        required: true
      replicas:
        description: Number of its pods.
        type: int
        default: 1
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.app_pod
attributes:
  check_mode:
    description: Checks in check mode as well. What is not there yet is told in RV(unchecked) and fails no play.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
  idempotent:
    description: Never reports a change.
    support: full
seealso:
  - module: celeryops.platform.beat_schedule
  - module: celeryops.platform.celery_validate
"""

EXAMPLES = r"""
- name: Refuse settings that contradict each other
  celeryops.platform.celery_settings_check:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]
    pools:
      - name: default
        queues: [celery, backups, pricing]
        replicas: 3
        concurrency: 4
        settings: {task_acks_late: true, worker_soft_shutdown_timeout: 45}
        grace_period: 60
    queues_waived: [legacy]
"""

RETURN = r"""
findings:
  description: Every contradiction, errors first.
  type: list
  elements: dict
  returned: always
  contains:
    rule:
      description: Which rule found it.
      type: str
    severity:
      description: V(error) or V(warning).
      type: str
    pool:
      description: Name of the pool; null where it concerns all of them.
      type: str
    what:
      description: What was found.
      type: str
    why:
      description: Why it matters.
      type: str
    change:
      description: Which variable to change.
      type: str
  sample:
    - rule: soft-shutdown-grace
      severity: error
      pool: default
      what: worker_soft_shutdown_timeout 60 s, grace period 60 s
      why: Kubernetes kills the worker before it has handed back what it could not finish
      change: worker_soft_shutdown_timeout in celery_worker_settings below celery_worker_grace_period
unchecked:
  description: What could not be looked at, and why.
  type: list
  elements: str
  returned: always
  sample: ["resources against a LimitRange: the namespace has none"]
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._celery.assess import assess
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

POOL: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "kind": {
        "type": "str",
        "choices": ["prefork", "solo", "threads", "gevent", "eventlet"],
        "default": "prefork",
    },
    "queues": {"type": "list", "elements": "str", "required": True},
    "replicas": {"type": "int", "required": True},
    "max_replicas": {"type": "int"},
    "max_surge": {"type": "raw", "default": 0},
    "concurrency": {"type": "int", "required": True},
    "grace_period": {"type": "int", "default": 60},
    "min_available": {"type": "int", "default": 0},
    "task_limit": {"type": "float", "default": 0},
    "settings": {"type": "dict", "default": {}},
    "env": {"type": "list", "elements": "dict", "default": []},
    "resources": {"type": "dict", "default": {}},
    "init_containers": {"type": "list", "elements": "dict", "default": []},
    "shm_size": {"type": "str", "default": ""},
}
POOLER: dict[str, Any] = {
    "client_connections": {"type": "int", "required": True},
    "pool_size": {"type": "int", "required": True},
    "replicas": {"type": "int", "default": 1},
}
ARGS: dict[str, Any] = {
    "survey": {"type": "dict"},
    "pools": {"type": "list", "elements": "dict", "required": True, "options": POOL},
    "queues_waived": {"type": "list", "elements": "str", "default": []},
    "longest_eta": {"type": "float", "default": 0},
    "pooler": {"type": "dict", "options": POOLER},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **APP_ARGS, **ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    run_module(
        module,
        lambda result: assess(module.params, result, check_mode=module.check_mode, warn=module.warn),
        findings=[],
        unchecked=[],
    )


if __name__ == "__main__":
    main()
