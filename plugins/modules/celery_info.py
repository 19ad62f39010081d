#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_info
short_description: Workers, pools, tasks, and the exact backlog of each queue
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Asks the application from inside one of its running worker containers, with the settings that this container has.
    What the workers do, each of them answers by Celery's remote control; what waits, the broker itself says.
  - The backlog of a queue is what waits in all its priority lists, and what was delivered from it and is not
    acknowledged. A task that was acknowledged before it ran is in no list, and is added while it runs.
  - Lists and unacknowledged messages are read in one transaction as long as there are at most 250 of the latter. Beyond
    that they are read in portions, and what comes or goes meanwhile may be missed or counted twice.
  - Tasks are told by name and number. Their arguments, ids and results never leave the container.
  - It changes nothing, sends no task, and starts no pod.
options:
  namespace:
    description: Namespace of the workers.
    type: str
    required: true
  app:
    description: The Celery application, as for C(celery -A).
    type: str
    required: true
  workers:
    description: Names of the workers' Deployments; by default all those with the label C(component=celery-worker).
    type: list
    elements: str
    default: []
  queues:
    description:
      - Further queues whose backlog is wanted. Those that the application declares and those that a worker consumes
        are told in any case.
    type: list
    elements: str
    default: []
  python:
    description: The Python in the workers' image that has Celery.
    type: str
    default: python
  timeout:
    description: Seconds to wait for each answer of a worker or of the broker. A ping of all workers takes that long.
    type: float
    default: 3
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.read_only
"""

EXAMPLES = r"""
- name: See who works on what
  celeryops.platform.celery_info:
    namespace: jewelry-shop
    app: config
  register: celery

- name: Wait until nothing is left to do
  celeryops.platform.celery_info:
    namespace: jewelry-shop
    app: config
  register: celery
  until: celery.queues | sum(attribute='backlog') == 0
  retries: 30
  delay: 10
"""

RETURN = r"""
workers:
  description: Every worker that answers, and every pod whose worker does not.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Its node name; null where it does not answer.
      type: str
    pod:
      description: Its pod; null for a worker of the same broker that is none of these Deployments.
      type: str
    deployment:
      description: The pod's Deployment.
      type: str
    node:
      description: Where the pod runs.
      type: str
    ready:
      description: Whether the pod is ready.
      type: bool
    answers:
      description: Whether it answered a ping. A busy solo worker answers nothing.
      type: bool
    kind:
      description: V(prefork), V(solo), V(threads), V(gevent) or V(eventlet).
      type: str
    concurrency:
      description: Tasks at once.
      type: int
    processes:
      description: Processes that run tasks; null for the kinds that have none beside the main one, and 1 for V(solo).
      type: int
    prefetch:
      description: Messages that it holds at most; 0 is without limit.
      type: int
    uptime:
      description: Seconds.
      type: int
    clock_skew:
      description:
        - Seconds by which its clock is ahead of the asked container's, at least; null without the probes of role
          celery_pod.
      type: float
    queues:
      description: What it consumes.
      type: list
      elements: str
    active:
      description: Tasks that run.
      type: int
    reserved:
      description: Tasks that it holds and that do not run yet.
      type: int
    scheduled:
      description: Tasks that it holds until their time.
      type: int
  sample:
    - {name: celery@celery-worker-7c9-4x2, pod: celery-worker-7c9-4x2, deployment: celery-worker, node: local-worker-1,
       ready: true, answers: true, kind: prefork, concurrency: 4, processes: 4, prefetch: 4, uptime: 812,
       clock_skew: 0.0, queues: [celery, reports], active: 1, reserved: 0, scheduled: 0}
pools:
  description: One for each Deployment. C(concurrency), C(processes) and C(queues) are those of the workers that answer.
  type: list
  elements: dict
  returned: always
  sample:
    - {deployment: celery-worker, pool: default, kinds: [prefork], replicas: 3, ready: 3, answering: 3, concurrency: 12,
       processes: 12, queues: [celery, reports]}
tasks:
  description: How many of each task are C(active), C(reserved) or C(scheduled), by queue, and whether acknowledged.
  type: list
  elements: dict
  returned: always
  sample:
    - {task: apps.reporting.tasks.run_scheduled, queue: reports, state: active, acknowledged: false, count: 1}
queues:
  description:
    - C(ready) messages wait in the broker, C(unacked) ones were delivered; C(running_acknowledged) tasks run and are in
      the broker no more. C(backlog) is the sum of the three. C(consumers) is how many workers consume the queue.
    - C(ready), C(unacked) and C(backlog) are null where the broker is not Redis.
  type: list
  elements: dict
  returned: always
  sample:
    - {queue: reports, consumers: 3, ready: 12, unacked: 1, running_acknowledged: 0, backlog: 13, active: 1,
       reserved: 0, scheduled: 0}
broker:
  description:
    - The kind of broker; all unacknowledged messages, and those of them that belong to none of the queues; seconds by
      which its clock is ahead, at least; and why there is no backlog, if so.
  type: dict
  returned: always
  sample: {driver: redis, unacked: 1, unacked_elsewhere: 0, clock_skew: 0.0, problem: null}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._celery.info import info
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS = {
    "namespace": {"type": "str", "required": True},
    "app": {"type": "str", "required": True},
    "workers": {"type": "list", "elements": "str", "default": []},
    "queues": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "str", "default": "python"},
    "timeout": {"type": "float", "default": 3},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    run_module(
        module,
        lambda result: info(module.params, result),
        workers=[],
        pools=[],
        tasks=[],
        queues=[],
        broker={},
    )


if __name__ == "__main__":
    main()
