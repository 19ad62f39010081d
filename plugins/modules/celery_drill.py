#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_drill
short_description: Disturb workers, or what they depend on, under load and account for every task
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Sends tasks of different lengths, disturbs the workers, Redis, PostgreSQL or whole nodes while they run, and counts
    what was sent, what ran, what ran twice and what was lost. Afterwards everything is as before.
  - Where Redis, PostgreSQL or a node is disturbed, a client writes to them as well, and tells for how long it could
    not, and what was lost of what had been acknowledged. A process that is back in its place (C(in_place)) and another
    one that took over (C(failover)) are kept apart, by what really happened.
  - The tasks may be of any application. Workers with a lease (C(celery_worker_lease) of role C(celery_worker)) record
    the starts and ends of tasks that carry the drill's header; the task itself need not do anything but last.
  - A drill disturbs real work as well. It is refused without O(allowed), on a platform that is not well, and, where the
    workers themselves are drilled, on a Deployment that an autoscaler scales.
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
      - V(redis_master_process) kills the master's container from its node as above, V(redis_master_pod) removes its pod
        without a word, V(redis_sentinel_pod) and V(redis_proxy_pod) the oldest pod of theirs.
      - V(postgresql_primary_process) kills PostgreSQL under Patroni from its node, V(postgresql_primary_pod) removes
        its pod without a word, V(postgresql_primary_eviction) asks it to go, and V(postgresql_pooler_pod) removes the
        oldest pod of the pooler.
      - V(node_drain) cordons each of O(nodes) in turn, evicts everything that is evictable, and uncordons it, also
        where that failed.
      - V(node_loss) drops all that arrives at and leaves each of O(nodes) in turn for O(outage) seconds. It takes
        nftables of Linux 5.16 on the node, and nothing else. The kernel ends it with the process that began it.
    type: str
    choices:
      - worker_kill
      - rolling_update
      - eviction
      - scale_in
      - redis_master_process
      - redis_master_pod
      - redis_sentinel_pod
      - redis_proxy_pod
      - postgresql_primary_process
      - postgresql_primary_pod
      - postgresql_primary_eviction
      - postgresql_pooler_pod
      - node_drain
      - node_loss
    required: true
  repetitions:
    description: How often, from 1 to 100; of nodes, how often each.
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
  nodes:
    description:
      - Nodes that are drilled; without any, all that are ready and not cordoned.
      - Of the control plane one is lost only where three are ready, and the kubeconfig leads to an address in front of
        them.
    type: list
    elements: str
    default: []
  outage:
    description: For how many seconds a node is lost, at most 240.
    type: float
    default: 90
  timeout:
    description: Seconds for everything to be well again after each disturbance.
    type: float
    default: 300
  drain:
    description: Seconds for every task to end after the last disturbance; what has not ended then is lost.
    type: float
    default: 300
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.worker_pod
  - celeryops.platform.drill
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
requirements:
  - redis >= 6.0 on the host where the module runs, to drill Redis or nodes
notes:
  - The first of O(workers) is drilled, and its image is what clients and the pods on nodes run in.
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

- name: Kill twenty masters of Redis
  celeryops.platform.celery_drill:
    namespace: jewelry-shop
    app: config
    task: config.celery.debug_task
    drill: redis_master_process
    repetitions: 20
    redis: {}
    allowed: "{{ drill_allowed }}"

- name: Drain every node in turn
  celeryops.platform.celery_drill:
    namespace: jewelry-shop
    app: config
    task: config.celery.debug_task
    drill: node_drain
    allowed: "{{ drill_allowed }}"
"""

RETURN = r"""
drill:
  description: The kind of disturbance.
  type: str
  returned: always
  sample: worker_kill
budget:
  description: What was allowed, of what this kind of drill is held to.
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
  description:
    - Each disturbance. A kill of a worker tells the victim, its node, its exit code, how many of the drill's tasks it
      ran, and the seconds until all of these were started elsewhere.
    - A failure of Redis or PostgreSQL tells the victim, who was the master or primary C(before) and C(after), its
      C(kind), which is C(in_place) or C(failover), the C(gap) in seconds from the last good write to the first that
      lasts (null without one), writes C(acknowledged) and C(lost), and those that a replica refused, in all and outside
      of the gap.
    - A node tells how many pods were C(evicted), for how many C(seconds) it was drained or lost, and the same of
      C(redis) and C(postgresql).
  type: list
  elements: dict
  returned: always
  sample:
    - {victim: celery-worker-7c9-4x2, node: local-worker-1, exit_code: 137, active: 4, seconds_elsewhere: 33.1}
writes:
  description: The writes to Redis and PostgreSQL, by engine and kind of recovery; nothing where nobody wrote.
  type: list
  elements: dict
  returned: always
  sample:
    - {engine: redis, kind: in_place, rounds: 20, gap: {p50: 2.1, p95: 2.9, max: 3.4}, acknowledged: 14211, lost: 0,
       reached_a_replica: 0, reached_a_replica_steady: 0}
restart_backoff:
  description:
    - For how many seconds the kubelets let a container wait at most that ends again and again, as they say themselves.
      Where it is long, many kills of a process measure that, and end in failovers. Null where it is not known, or
      nothing is restarted.
  type: float
  returned: always
  sample: 1.0
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
        victim ran is started elsewhere, any other disturbance when all is well again.
      type: list
      elements: dict
      sample: [{round: 1, what: disturbance, seconds: 2.1}, {round: 1, what: recovery, seconds: 35.2}]
    gaps:
      description: From when, in C(seconds), and C(until) when a client's writes to an C(engine) were not acknowledged.
      type: list
      elements: dict
      sample: [{round: 1, engine: redis, seconds: 2.0, until: 5.4}]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._celery.argspec import WORKER_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._drill.argspec import DRILL_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import budget_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.perform import asks_redis, perform
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import nothing
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import REDIS_IMPORT_ERROR


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **WORKER_ARGS, **DRILL_ARGS}, supports_check_mode=True)
    needed = {"kubernetes": KUBERNETES_IMPORT_ERROR, "redis": asks_redis(module.params) and REDIS_IMPORT_ERROR}
    for library, problem in needed.items():
        if problem:
            module.fail_json(msg=missing_required_lib(library), exception=problem)
    run_module(
        module,
        lambda result: perform(module.params, result, check_mode=module.check_mode),
        drill=module.params["drill"],
        budget=budget_of(module.params["drill"], module.params["budget"]).told(),
        passed=None,
        problems=[],
        sent=0,
        run=0,
        run_twice=0,
        run_twice_killed=0,
        lost=0,
        seconds_elsewhere=None,
        rounds=[],
        writes=[],
        restart_backoff=None,
        timeline=nothing(),
    )


if __name__ == "__main__":
    main()
