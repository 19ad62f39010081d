# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules about delivery: times against the broker's, acknowledging, prefetching, priorities."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import (
    ERROR,
    PRIORITY_STEPS,
    WARNING,
    Finding,
    Pool,
    Snapshot,
    listed,
)

__all__ = ["DELIVERY_RULES"]

# Pools in which Celery enforces a hard time limit. gevent's is enforced where the task yields.
ENFORCING = ("prefork", "gevent")
# Celery's own; only another value says that somebody meant it.
RETRY_DELAY = 180
# Seconds
SHORTEST_LEASE = 10.0
TWICE = "on Redis the message is delivered again after that time, and the task runs twice"
VISIBILITY = "the application's broker_transport_options visibility_timeout"


def time_limits(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """Hard limits against the visibility timeout, and limits that nobody enforces."""
    visibility = seen.visibility(pool)
    tasks = list(seen.tasks_of(pool))
    for task in tasks:
        soft = task["soft_time_limit"] or seen.setting(pool, "task_soft_time_limit")
        hard = seen.time_limit(pool, task)
        if soft and hard and float(soft) >= hard:
            yield Finding(
                "soft-time-limit",
                WARNING,
                f"{task['name']}: soft time limit {soft:g} s, hard time limit {hard:g} s",
                "the task is killed before it can clean up",
                "lower task_soft_time_limit, in celery_worker_settings or of the task",
                pool.name,
            )
    if visibility is None:
        return
    late = [(task["name"], seen.time_limit(pool, task)) for task in tasks if seen.acks_late(pool, task)]
    over = [(name, limit) for name, limit in late if limit is not None and limit >= visibility]
    if over:
        names, limits = zip(*over, strict=True)
        longest = max(limits)
        yield Finding(
            "time-limit-visibility",
            ERROR,
            f"time limit {longest:g} s and visibility timeout {visibility:g} s: {listed(names)}",
            f"a late-acked task that may run longer than the visibility timeout: {TWICE}",
            f"task_time_limit in celery_worker_settings below {visibility:g} s, or raise {VISIBILITY}",
            pool.name,
        )
    without = [name for name, limit in late if limit is None]
    if without:
        yield Finding(
            "no-time-limit",
            WARNING,
            f"no time limit: {listed(without)}",
            f"a late-acked task that runs longer than the visibility timeout of {visibility:g} s: {TWICE}",
            f"task_time_limit in celery_worker_settings, below {visibility:g} s",
            pool.name,
        )
    limited = [name for name, limit in late if limit is not None]
    if limited and pool.kind not in ENFORCING:
        yield Finding(
            "time-limit-not-enforced",
            WARNING,
            f"pool kind {pool.kind} enforces no time limit: {listed(limited)}",
            f"nothing ends a task before the visibility timeout of {visibility:g} s; then {TWICE}",
            "kind prefork in celery_worker_pools, or time-outs within the tasks",
            pool.name,
        )
    if pool.kind == "solo" and pool.task_limit >= visibility:
        yield Finding(
            "solo-task-limit",
            ERROR,
            f"celery_worker_task_limit {pool.task_limit:g} s, visibility timeout {visibility:g} s",
            "the probes let a task hang for longer than its message stays hidden",
            f"celery_worker_task_limit below {visibility:g} s",
            pool.name,
        )


def eta(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """A task with an ETA lies unacknowledged in a worker until then."""
    visibility = seen.visibility(pool)
    if visibility is None:
        return
    why = f"a task that waits for its time is unacknowledged meanwhile: {TWICE}, once for each delivery"
    if seen.limits.longest_eta >= visibility:
        yield Finding(
            "eta-visibility",
            ERROR,
            f"celery_worker_longest_eta {seen.limits.longest_eta:g} s, visibility timeout {visibility:g} s",
            why,
            f"shorter countdowns, a clocked schedule entry instead, or raise {VISIBILITY}",
            pool.name,
        )
    waiting = [
        f"{task['name']} ({task['retry_delay']:g} s)"
        for task in seen.tasks_of(pool)
        if task["retry_delay"] >= visibility and (task["autoretry"] or task["retry_delay"] != RETRY_DELAY)
    ]
    if waiting:
        yield Finding(
            "retry-visibility",
            ERROR,
            f"retries wait as long as the visibility timeout of {visibility:g} s or longer: {listed(waiting)}",
            why,
            f"retry_backoff_max or default_retry_delay of the tasks below {visibility:g} s, or raise {VISIBILITY}",
            pool.name,
        )


def lease(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """A worker that is silent for its lease has lost its messages, whether it is dead or only slow."""
    if seen.is_redis and 0 < pool.lease < SHORTEST_LEASE:
        yield Finding(
            "lease-short",
            WARNING,
            f"celery_worker_lease {pool.lease:g} s",
            "a pause of a process, of its node or of Redis counts as a death, and its tasks run twice",
            f"celery_worker_lease of {SHORTEST_LEASE:g} s or more; 30 leaves half a minute for a start elsewhere",
            pool.name,
        )


def shutdown(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """Soft shutdown against the grace period, and the grace period against the broker."""
    soft = float(seen.setting(pool, "worker_soft_shutdown_timeout") or 0)
    visibility = seen.visibility(pool)
    late = seen.acks_late(pool)
    if soft >= pool.grace_period:
        yield Finding(
            "soft-shutdown-grace",
            ERROR,
            f"worker_soft_shutdown_timeout {soft:g} s, grace period {pool.grace_period:g} s",
            "Kubernetes kills the worker before it has handed back what it could not finish",
            "worker_soft_shutdown_timeout in celery_worker_settings below celery_worker_grace_period",
            pool.name,
        )
    if soft == 0 and late:
        yield Finding(
            "no-soft-shutdown",
            WARNING,
            "worker_soft_shutdown_timeout is 0",
            "each update, eviction and scale-in interrupts running tasks at once, and they start anew elsewhere",
            "worker_soft_shutdown_timeout in celery_worker_settings, below celery_worker_grace_period",
            pool.name,
        )
    if visibility is not None and pool.grace_period >= visibility and late:
        yield Finding(
            "grace-visibility",
            ERROR,
            f"grace period {pool.grace_period:g} s, visibility timeout {visibility:g} s",
            "what a stopping worker still holds is delivered to another one before it has ended",
            f"celery_worker_grace_period below {visibility:g} s, or raise {VISIBILITY}",
            pool.name,
        )
    lost = [
        task["name"]
        for task in seen.tasks_of(pool)
        if not seen.acks_late(pool, task) and not 0 < (seen.time_limit(pool, task) or 0) <= soft
    ]
    if lost:
        yield Finding(
            "early-acks-shutdown",
            ERROR,
            f"acknowledged before they run, and not sure to end within {soft:g} s: {listed(lost)}",
            "a stopping worker ends them after the soft shutdown, and nobody delivers them again: they are lost",
            "task_acks_late true in celery_worker_settings or of the task, or a time limit within "
            "worker_soft_shutdown_timeout",
            pool.name,
        )


def prefetch(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """Prefetching against late acknowledgement."""
    raw = seen.setting(pool, "worker_prefetch_multiplier")
    factor = 4 if raw is None else int(raw)
    late, visibility = seen.acks_late(pool), seen.visibility(pool)
    change = "worker_prefetch_multiplier 1 in celery_worker_settings"
    if late and factor == 0:
        yield Finding(
            "prefetch-unlimited",
            ERROR,
            "worker_prefetch_multiplier 0 with late acknowledgement",
            "one worker takes every message of its queues; the others idle, and what waits too long is run twice",
            change,
            pool.name,
        )
    elif late and factor > 1:
        limits = [seen.time_limit(pool, task) or 0.0 for task in seen.tasks_of(pool)]
        waits = factor * max(limits, default=0.0)
        twice = visibility is not None and waits >= visibility
        yield Finding(
            "prefetch-acks-late",
            ERROR if twice else WARNING,
            f"worker_prefetch_multiplier {factor} with late acknowledgement",
            f"a message may wait behind others for up to {waits:g} s, visibility timeout {visibility:g} s: {TWICE}"
            if twice
            else "a worker holds messages that an idle one could run, and their priority no longer counts",
            change,
            pool.name,
        )
    lost = bool(seen.setting(pool, "task_reject_on_worker_lost"))
    if late and not lost and pool.kind == "prefork":
        yield Finding(
            "acks-late-worker-lost",
            WARNING,
            "task_acks_late without task_reject_on_worker_lost",
            "a task whose process is killed, for its memory for example, counts as failed and is not run again",
            "task_reject_on_worker_lost true in celery_worker_settings",
            pool.name,
        )
    if lost and not late:
        yield Finding(
            "worker-lost-acks-early",
            WARNING,
            "task_reject_on_worker_lost without task_acks_late",
            "it has no effect: the message was acknowledged before the task ran",
            "task_acks_late true in celery_worker_settings",
            pool.name,
        )


def priorities(seen: Snapshot, pool: Pool) -> Iterator[Finding]:
    """Priorities in use that the broker serves as one."""
    if not seen.is_redis:
        return
    steps = sorted(seen.transport_option(pool, "priority_steps") or PRIORITY_STEPS)
    sources = (seen.survey["routes"], seen.survey["tasks"], seen.survey["schedule"])
    used = {
        int(each["priority"])
        for source in sources
        for each in source
        if each["priority"] is not None and (each["queue"] is None or each["queue"] in pool.queues)
    }
    lists: dict[int, list[int]] = {}
    for number in sorted(used):
        lists.setdefault(max([step for step in steps if step <= number] or steps[:1]), []).append(number)
    together = [numbers for numbers in lists.values() if len(numbers) > 1]
    if together:
        yield Finding(
            "priority-steps",
            WARNING,
            "broker priorities that share a list: "
            + "; ".join(", ".join(map(str, numbers)) for numbers in together)
            + f" (priority_steps {', '.join(map(str, steps))})",
            "they are served in the order of arrival, whatever their priority",
            "priority_steps 0 to 9 in the application's broker_transport_options, the same for every producer",
            pool.name,
        )


DELIVERY_RULES = (time_limits, eta, lease, shutdown, prefetch, priorities)
