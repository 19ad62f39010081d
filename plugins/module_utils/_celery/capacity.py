# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about what the workers run against: connections, memory, the LimitRange, the pool's libraries."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.quantity import parse_quantity
from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import (
    ERROR,
    WARNING,
    Finding,
    Pool,
    Snapshot,
)

__all__ = ["PLATFORM_RULES", "POOL_RULES"]

MEBI = 1024 * 1024
# A prefork worker of a bare project holds 114 MB at concurrency 2: three processes.
PROCESS_MEMORY = 40 * MEBI
# A worker holds four connections to Redis and one more per slot; gossip, mingle and events come to up to four.
REDIS_CONNECTIONS = 8
GREEN = ("gevent", "eventlet")
ONLY_PREFORK = ("worker_max_memory_per_child", "worker_max_tasks_per_child")


def memory(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """The memory limit against what the processes of one pod need."""
    if pool.kind != "prefork":
        unused = [name for name in ONLY_PREFORK if seen.setting(pool, name)]
        if unused:
            yield Finding(
                "recycling-without-prefork",
                WARNING,
                f"{', '.join(unused)} with pool kind {pool.kind}",
                "only prefork replaces its processes: the setting has no effect, and memory that is lost stays lost",
                "remove it, or kind prefork in celery_worker_pools",
                pool.name,
            )
        return
    limit = _bytes(_worker(pool), "limits")
    if limit is None:
        return
    change = "lower the pool's concurrency or raise the memory limit of its resources"
    needed = PROCESS_MEMORY * (pool.slots + 1)
    if needed > limit:
        yield Finding(
            "memory-limit-concurrency",
            ERROR,
            f"memory limit {_mebi(limit)}, {pool.slots} processes and the main one",
            f"a process of a bare project takes about {_mebi(PROCESS_MEMORY)}: the kernel kills the worker as it "
            "starts, without a message",
            change,
            pool.name,
        )
        return
    kibi = seen.setting(pool, "worker_max_memory_per_child")
    grown = int(kibi) * 1024 * pool.slots + PROCESS_MEMORY if kibi else 0
    if grown > limit:
        yield Finding(
            "memory-limit-recycling",
            ERROR,
            f"memory limit {_mebi(limit)}, worker_max_memory_per_child {_mebi(int(kibi) * 1024)} for each of "
            f"{pool.slots} processes",
            "the kernel kills a process before the worker would replace it between two tasks",
            f"worker_max_memory_per_child of at most {(limit - PROCESS_MEMORY) // pool.slots // 1024} KiB, or {change}",
            pool.name,
        )
    shm = int(parse_quantity(pool.shm_size)) if pool.shm_size else 0
    if shm + needed > limit:
        yield Finding(
            "memory-limit-shm",
            WARNING,
            f"memory limit {_mebi(limit)}, an in-memory /dev/shm of {_mebi(shm)}",
            "what is written to /dev/shm counts against the container's memory",
            "lower celery_worker_shm_size or raise the memory limit",
            pool.name,
        )


def limit_range(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """Each container's requests and limits against the namespace's LimitRange."""
    items = [
        item for limits in seen.limits.limit_ranges for item in limits["spec"]["limits"] if item["type"] == "Container"
    ]
    for container, resources in pool.containers.items():
        for item in items:
            for kind in ("cpu", "memory"):
                problem = _against(item, resources, kind)
                if problem:
                    yield Finding(
                        "limit-range",
                        ERROR,
                        f"container {container}: {problem}",
                        "the API server refuses the pods, and the Deployment stays without any",
                        "correct the pool's resources (celery_pod_init_resources for init containers), or the "
                        "LimitRange by namespace_max_limit_request_ratio",
                        pool.name,
                    )


def _against(item: dict[str, Any], resources: dict[str, Any], kind: str) -> str:
    request = (resources.get("requests") or {}).get(kind)
    limit = (resources.get("limits") or {}).get(kind) or (item.get("default") or {}).get(kind)
    # Kubernetes takes the limit for a request that is left out.
    request = request or (resources.get("limits") or {}).get(kind) or (item.get("defaultRequest") or {}).get(kind)
    ratio = (item.get("maxLimitRequestRatio") or {}).get(kind)
    if ratio and not (request and limit):
        return f"no {kind} request or limit, but a largest ratio of {ratio}"
    if ratio and limit and request and parse_quantity(limit) > Decimal(str(ratio)) * parse_quantity(request):
        found = parse_quantity(limit) / parse_quantity(request)
        return f"{kind} {request} to {limit} is a ratio of {found:.3g}, at most {ratio} is allowed"
    for bound, value, wrong in (("min", request, -1), ("max", limit, 1)):
        edge = (item.get(bound) or {}).get(kind)
        if edge and value and (parse_quantity(value) - parse_quantity(edge)) * wrong > 0:
            return f"{kind} {value} is {'below' if wrong < 0 else 'above'} the {bound} of {edge}"
    return ""


def pool_kind(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """What the pool's kind needs in the image, and whether the database's driver yields in it."""
    installed = seen.survey["installed"]
    if pool.kind == "solo" and pool.concurrency > 1:
        yield Finding(
            "solo-concurrency",
            WARNING,
            f"concurrency {pool.concurrency} with pool kind solo",
            "solo runs one task at a time",
            "concurrency 1, or another kind, in celery_worker_pools",
            pool.name,
        )
    if pool.kind not in GREEN:
        return
    if not installed.get(pool.kind):
        yield Finding(
            "pool-library",
            ERROR,
            f"pool kind {pool.kind}, and no {pool.kind} in the image",
            "the worker ends at once",
            f"add {pool.kind} to the application's requirements, or another kind in celery_worker_pools",
            pool.name,
        )
    why = "one query stops every task of the pod, and its heartbeat, until the database answers"
    if installed.get("psycopg") and _blocks(seen, pool):
        yield Finding(
            "green-pool-driver",
            WARNING,
            f"pool kind {pool.kind} and psycopg {installed['psycopg']} ({seen.survey['database']['implementation']})",
            why + ": psycopg waits in C, which eventlet cannot interrupt",
            "PSYCOPG_WAIT_FUNC=wait_selector in the pool's env, or kind gevent, which psycopg knows",
            pool.name,
        )
    blocking = [name for name in ("psycopg2", "mysqlclient") if installed.get(name)]
    if blocking and not installed.get("psycopg") and not installed.get("psycogreen"):
        yield Finding(
            "green-pool-driver",
            WARNING,
            f"pool kind {pool.kind} and {', '.join(blocking)}",
            why + ": the driver waits in C",
            "psycopg 3 with kind gevent, psycogreen for psycopg2, or kind threads in celery_worker_pools",
            pool.name,
        )


def _blocks(seen: Snapshot, pool: Pool) -> bool:
    """psycopg's Python code yields in both, its C code notices gevent only."""
    implementation = seen.survey["database"]["implementation"]
    chosen = pool.environment.get("PSYCOPG_WAIT_FUNC") or seen.survey["database"]["wait"]
    return pool.kind == "eventlet" and implementation in ("c", "binary") and chosen in (None, "wait_c")


def disruption(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """The PodDisruptionBudget must let one pod go."""
    if pool.min_available >= pool.replicas > 0:
        yield Finding(
            "disruption-budget",
            ERROR,
            f"min_available {pool.min_available} of {pool.replicas} replicas",
            "no pod may be evicted, so no node can be drained",
            "the pool's min_available below its replicas",
            pool.name,
        )


def autoscaling(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """What an autoscaler needs: figures of what the pods use, and a request to compare them with."""
    if pool.max_replicas is None:
        return
    if seen.limits.metrics_problem:
        yield Finding(
            "metrics-api",
            ERROR,
            f"autoscale by CPU, and {seen.limits.metrics_problem}",
            "the autoscaler learns nothing of the pods and leaves the pool at its minimum, whatever waits",
            "bring metrics-server to the cluster, as role metrics_server does, or no autoscale in celery_worker_pools",
            pool.name,
        )
    if not (_worker(pool).get("requests") or _worker(pool).get("limits") or {}).get("cpu"):
        yield Finding(
            "autoscale-request",
            ERROR,
            "autoscale by CPU, and no CPU request",
            "its target is a share of the request: without one the autoscaler never acts",
            "a CPU request in the pool's resources",
            pool.name,
        )


def redis(seen: Snapshot) -> Iterator[Finding]:
    """Connections to the broker, and what it throws away when it is full."""
    found = seen.survey["redis"]
    if not seen.is_redis or found.get("problem"):
        return
    needed = sum(pool.pods * (REDIS_CONNECTIONS + pool.slots) for pool in seen.pools)
    most = found.get("maxclients")
    if most and needed > 0.8 * most:
        yield Finding(
            "redis-connections",
            ERROR if needed > most else WARNING,
            f"about {needed} connections of workers, maxclients {most}",
            "beyond it workers cannot start and producers cannot send",
            "lower replicas or concurrency in celery_worker_pools, or raise Redis's maxclients",
        )
    policy, limit = found.get("maxmemory_policy"), found.get("maxmemory")
    if policy and policy.startswith("allkeys"):
        yield Finding(
            "redis-eviction",
            ERROR if limit else WARNING,
            f"maxmemory-policy {policy}, maxmemory {limit or 'without limit'}",
            "a full Redis throws whole queues away, without an error anywhere",
            "maxmemory-policy noeviction",
        )
    elif policy and policy.startswith("volatile") and limit:
        yield Finding(
            "redis-eviction",
            WARNING,
            f"maxmemory-policy {policy}",
            "a full Redis throws results away that nobody has read",
            "maxmemory-policy noeviction",
        )


def database(seen: Snapshot) -> Iterator[Finding]:
    """Connections to PostgreSQL, through a pooler where there is one."""
    limits = seen.limits
    needed = sum(pool.pods * pool.slots for pool in seen.pools)
    found = seen.survey["database"]
    most = found.get("max_connections")
    usable = most - found["reserved"] if most else None
    change = "lower replicas or concurrency in celery_worker_pools, or raise "
    if limits.pooler_pool_size is None:
        if usable is not None and needed > usable:
            yield Finding(
                "database-connections",
                ERROR,
                f"up to {needed} connections of workers, {usable} of max_connections {most} to be had",
                "tasks fail with 'remaining connection slots are reserved', and beat ends",
                f"{change}max_connections, or put a pooler in between",
            )
        return
    clients = (limits.pooler_client_connections or 0) * limits.pooler_replicas
    if clients and needed > clients:
        yield Finding(
            "pooler-connections",
            ERROR,
            f"up to {needed} connections of workers, the pooler takes {clients}",
            "the pooler refuses further clients, and their tasks fail",
            f"{change}postgresql_pooler_max_client_connections",
        )
    servers = limits.pooler_pool_size * limits.pooler_replicas
    if usable is not None and servers > usable:
        yield Finding(
            "pooler-servers",
            ERROR,
            f"the pooler may open {servers} connections, {usable} of max_connections {most} are to be had",
            "PostgreSQL refuses the pooler under load, and tasks fail",
            "lower postgresql_pooler_pool_size, or raise max_connections in postgresql_cluster_parameters",
        )
    if needed > 4 * servers:
        yield Finding(
            "pooler-queue",
            WARNING,
            f"up to {needed} tasks at once share {servers} connections of the pooler",
            "tasks wait for a connection when more than that many have a transaction open",
            f"{change}postgresql_pooler_pool_size",
        )


def _worker(pool: Pool) -> dict[str, Any]:
    return next(iter(pool.containers.values()), {})


def _bytes(resources: dict[str, Any], side: str) -> int | None:
    value = (resources.get(side) or {}).get("memory")
    return int(parse_quantity(value)) if value else None


def _mebi(number: int) -> str:
    return f"{number / MEBI:.0f} MiB"


POOL_RULES = (memory, limit_range, pool_kind, disruption, autoscaling)
PLATFORM_RULES = (redis, database)
