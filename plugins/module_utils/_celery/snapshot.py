# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the settings check looks at: the application's own settings, the pools, and what they run against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

__all__ = ["ERROR", "WARNING", "Finding", "Limits", "Pool", "Snapshot", "listed"]

Json = dict[str, Any]
ERROR, WARNING = "error", "warning"

# kombu's own, in seconds, where the application sets none
VISIBILITY_TIMEOUT = 3600
# kombu's lists of a queue on Redis where the application sets no priority_steps
PRIORITY_STEPS = (0, 3, 6, 9)


@dataclass(frozen=True)
class Finding:
    """One contradiction: what was found, why it matters, which variable to change."""

    rule: str
    severity: str
    what: str
    why: str
    change: str
    pool: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("rule", "severity", "pool", "what", "why", "change")}


@dataclass(frozen=True)
class Pool:
    """One pool as it would be applied. Times in seconds; ``settings`` go over the application's own."""

    name: str
    kind: str = "prefork"
    queues: tuple[str, ...] = ()
    replicas: int = 1
    # The most that an autoscaler may make; None without one
    max_replicas: int | None = None
    max_surge: int = 0
    concurrency: int = 1
    grace_period: float = 60.0
    min_available: int = 0
    task_limit: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    # Container or init container: its resources in Kubernetes form. The first is the worker's own.
    containers: Mapping[str, Json] = field(default_factory=dict)
    shm_size: str = ""

    @property
    def slots(self) -> int:
        """Tasks at once in one pod."""
        return 1 if self.kind == "solo" else self.concurrency

    @property
    def pods(self) -> int:
        """The most pods at the same time, those of a rolling update included."""
        return max(self.replicas, self.max_replicas or 0) + self.max_surge


@dataclass(frozen=True)
class Limits:
    """What the workers run against; None where it is not known."""

    # Of one PgBouncer pod, and how many there are
    pooler_client_connections: int | None = None
    pooler_pool_size: int | None = None
    pooler_replicas: int = 1
    # LimitRange objects in Kubernetes form
    limit_ranges: tuple[Json, ...] = ()
    # The longest countdown or ETA that producers use, in seconds
    longest_eta: float = 0.0
    # Why an autoscaler would not learn what the pods use; empty where it does, or where there is none
    metrics_problem: str = ""


@dataclass(frozen=True)
class Snapshot:
    """``survey`` is what survey.py answers in the application's image."""

    survey: Json
    pools: tuple[Pool, ...]
    limits: Limits = Limits()
    waived: tuple[str, ...] = ()

    def setting(self, pool: Pool, name: str) -> Any:
        """The setting as the pool's workers have it."""
        return pool.settings.get(name, self.survey["conf"].get(name))

    def transport_option(self, pool: Pool, name: str) -> Any:
        return (self.setting(pool, "broker_transport_options") or {}).get(name)

    @property
    def is_redis(self) -> bool:
        return bool(self.survey["broker"]["driver"] == "redis")

    def visibility(self, pool: Pool) -> float | None:
        """Seconds after which an unacknowledged message is delivered again; None where the broker has no such time."""
        if not self.is_redis:
            return None
        return float(self.transport_option(pool, "visibility_timeout") or VISIBILITY_TIMEOUT)

    def acks_late(self, pool: Pool, task: Json | None = None) -> bool:
        """The task's own way of acknowledging, or the pool's."""
        if task is not None and task["acks_late"] is not None:
            return bool(task["acks_late"])
        return bool(self.setting(pool, "task_acks_late"))

    def time_limit(self, pool: Pool, task: Json) -> float | None:
        """The hard time limit; None without one."""
        limit = task["time_limit"] or self.setting(pool, "task_time_limit")
        return float(limit) if limit else None

    def tasks_of(self, pool: Pool) -> Iterator[Json]:
        """The application's tasks that are routed to the pool's queues, Celery's own left out."""
        for task in self.survey["tasks"]:
            if task["queue"] in pool.queues and not task["name"].startswith("celery."):
                yield task

    def producers(self) -> dict[str, list[str]]:
        """Queue: who sends to it. Routes, tasks, entries of the schedule, and the default queue."""
        found: dict[str, list[str]] = {}
        for route in self.survey["routes"]:
            if route["queue"]:
                found.setdefault(route["queue"], []).append(f"route {route['pattern']!r}")
        routed = [route["pattern"] for route in self.survey["routes"]]
        for task in self.survey["tasks"]:
            own = not any(fnmatch(task["name"], pattern) for pattern in routed)
            if task["queue"] and own and not task["name"].startswith("celery."):
                found.setdefault(task["queue"], []).append(f"task {task['name']!r}")
        by_name = {task["name"]: task["queue"] for task in self.survey["tasks"]}
        for entry in self.survey["schedule"]:
            queue = entry["queue"] or by_name.get(entry["task"])
            if queue:
                found.setdefault(queue, []).append(f"schedule entry {entry['name']!r}")
        default = self.survey["conf"]["task_default_queue"]
        found.setdefault(default, []).append("task_default_queue")
        return found


def listed(names: Sequence[str], most: int = 4) -> str:
    """The first few, and how many more."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
