# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import Call
from ansible_collections.celeryops.platform.plugins.module_utils._celery.worker_pod import ask, pods_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import budget_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.engines import Engines
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.node_courses import NodeDrain, NodeLoss
from ansible_collections.celeryops.platform.plugins.module_utils._drill.nodes import Nodes, restart_backoff
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Engine
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Course, hold
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workers import Workers
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workload import Workload
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill_run import PostgreSQL, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill_run import Redis

__all__ = ["asks_redis", "perform", "plan_of"]

# Seconds for an answer, the import of the application on a busy node and a minute's wait for tasks included
ANSWER = 240.0
# Rounds at most
MOST = 100
# Seconds that a node may be off at most: after five minutes its pods would be given up.
LONGEST_OUTAGE = 240.0


def asks_redis(params: Mapping[str, Any]) -> bool:
    """Whether a drill of that kind speaks to Redis from here."""
    return str(params["drill"]).startswith("redis_") or (bool(params["redis"]) and params["drill"].startswith("node_"))


def plan_of(params: Mapping[str, Any]) -> Plan:
    """The plan from the module's options; raises CeleryOpsError for one that must not be carried out."""
    if not params["allowed"]:
        raise CeleryOpsError(
            "drills are not allowed here",
            expected="allowed: true, which says that this platform may be disturbed",
            found="allowed: false",
            remedy="set drill_allowed to true in the inventory of a platform that may be disturbed",
        )
    if not 0 < params["shortest"] <= params["longest"]:
        raise CeleryOpsError(
            "the tasks of a drill cannot take so long",
            expected="shortest above 0 and not above longest",
            found=f"shortest {params['shortest']:g}, longest {params['longest']:g}",
            remedy="correct shortest and longest",
        )
    if not 1 <= params["repetitions"] <= MOST:
        raise CeleryOpsError(
            "a drill is not held so often",
            expected=f"repetitions from 1 to {MOST}",
            found=f"{params['repetitions']}",
            remedy="correct repetitions",
        )
    if not 0 < params["outage"] <= LONGEST_OUTAGE:
        raise CeleryOpsError(
            "a node cannot be lost for so long",
            expected=f"outage above 0 and not above {LONGEST_OUTAGE:g} seconds",
            found=f"{params['outage']:g}",
            remedy="correct outage",
        )
    return Plan(
        name=params["drill"],
        repetitions=params["repetitions"],
        tasks=params["tasks"],
        task=params["task"],
        argument=params["argument"],
        queue=params["queue"],
        shortest=params["shortest"],
        longest=params["longest"],
        drain=params["drain"],
        python=params["python"],
        budget=budget_of(params["drill"], params["budget"]),
    )


def _engines(api: Api, params: Mapping[str, Any], site: Workload) -> dict[str, Engine]:
    """Those that the options name."""
    namespace = params["namespace"]
    # What is cut off heals only when it is not any more.
    timeout = params["timeout"] + (params["outage"] if params["drill"] == "node_loss" else 0)
    found: dict[str, Engine] = {}
    if redis := params["redis"]:
        options = {**redis, "namespace": namespace}
        client = {"image": site.image, "python": params["python"], "pull_secrets": site.pull_secrets}
        found["redis"] = Redis(api, options, site.hands, timeout=timeout, **client)
    if database := params["postgresql"]:
        cluster = PatroniCluster(api, namespace, database["name"])
        host = database["host"] or f"{database['name']}-pooler"
        target = Target(host, database["database"], database["role"], database["secret"], port=database["port"])
        found["postgresql"] = PostgreSQL(api, cluster, target, site.hands, timeout)
    return found


def course_of(api: Api, params: Mapping[str, Any], plan: Plan, site: Workload) -> Course:
    """What is to be disturbed; raises CeleryOpsError where the options do not name it."""
    engines = _engines(api, params, site)
    if plan.name in ("node_drain", "node_loss"):
        given = (Nodes(api, params["timeout"]), params["nodes"], list(engines.values()), site, site.hands)
        if plan.name == "node_drain":
            return NodeDrain(*given)
        return NodeLoss(*given, outage=params["outage"], image=site.image, python=plan.python)
    engine = plan.name.partition("_")[0]
    if engine not in ("redis", "postgresql"):
        return Workers(site, plan)
    if engine not in engines:
        raise CeleryOpsError(
            f"drill {plan.name} does not know what to disturb",
            expected=f"option {engine}, which says where it is",
            found="none",
            remedy=f"set {engine}, or leave this drill out where it is somebody else's",
        )
    return Engines(plan.name, engines[engine], site, site.hands)


def perform(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool) -> None:
    """Fills in ``result``. In check mode only looks whether the drill could be held."""
    plan = plan_of(params)
    api = connect(params)
    namespace = params["namespace"]
    site = Workload(api, namespace, params["workers"][0], params["timeout"], params["python"])
    course = course_of(api, params, plan, site)
    if check_mode:
        course.refuse()
        result.update(changed=True)
        return

    def execute(call: Call) -> tuple[int, str, str]:
        done = exec_in_pod(
            api,
            call.namespace,
            call.pod,
            call.command,
            container=call.container,
            stdin=call.stdin,
            timeout=call.timeout,
        )
        return done.rc, done.stdout, done.stderr

    def worker(do: str, options: Mapping[str, Any]) -> dict[str, Any]:
        # Each time another pod may be the one that stays.
        pods = pods_of(api, namespace, params["workers"])
        return ask(execute, pods, params["python"], "drill", {"app": params["app"], "do": do, **options}, ANSWER)

    result.update(changed=True)
    if plan.name == "redis_master_process":
        result.update(restart_backoff=restart_backoff(api))
    hold(course, worker, plan, result)
