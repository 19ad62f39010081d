# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract of queues: what is sent somewhere is consumed, and what is consumed is sent to."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import (
    ERROR,
    WARNING,
    Finding,
    Snapshot,
    listed,
)

__all__ = ["queue_contract"]

WAIVER = "celery_worker_queues_waived"


def queue_contract(seen: Snapshot) -> Iterator[Finding]:
    """Findings about queues; a waived queue is not complained about on either side."""
    producers = seen.producers()
    consumers: dict[str, list[str]] = {}
    for pool in seen.pools:
        for queue in pool.queues:
            consumers.setdefault(queue, []).append(pool.name)
    for queue, senders in sorted(producers.items()):
        if queue not in consumers and queue not in seen.waived:
            yield Finding(
                "queue-without-consumer",
                ERROR,
                f"nobody consumes {queue!r}, to which send: {listed(senders)}",
                "its messages would lie in the broker for ever, without an error anywhere",
                f"add {queue!r} to the queues of a pool in celery_worker_pools, or to {WAIVER} where workers "
                "outside this platform consume it",
            )
    for queue, pools in sorted(consumers.items()):
        if queue not in producers and queue not in seen.waived:
            yield Finding(
                "queue-without-producer",
                ERROR,
                f"{queue!r} is consumed by pool {', '.join(pools)}, but no route, no schedule entry and no "
                "default names it",
                "most often it is a misspelt name, and the queue that was meant has no consumer",
                f"correct or remove it in celery_worker_pools, or add it to {WAIVER} where its producers are "
                "out of sight",
            )
    yield from _undeclared(seen, consumers)
    for task in seen.survey["unroutable"]:
        yield Finding(
            "route-to-undeclared-queue",
            ERROR,
            f"task {task['task']!r} cannot be routed: {task['problem']}",
            "sending it raises an error, for the application does not create missing queues",
            "declare the queue in the application's task_queues, or correct its task_routes",
        )
    for queue in sorted(set(seen.waived) - set(consumers) - set(producers)):
        yield Finding(
            "waiver-of-nothing",
            WARNING,
            f"{queue!r} is waived, but neither consumed nor sent to",
            "a waiver that outlives its reason hides the next mistake of that name",
            f"remove it from {WAIVER}",
        )


def _undeclared(seen: Snapshot, consumers: dict[str, list[str]]) -> Iterator[Finding]:
    declared = seen.survey["queues"]
    if declared is None or seen.survey["conf"].get("task_create_missing_queues", True):
        return
    for queue in sorted(set(consumers) - set(declared)):
        yield Finding(
            "queue-not-declared",
            ERROR,
            f"pool {', '.join(consumers[queue])} consumes {queue!r}, which is not among the application's "
            f"task_queues ({listed(sorted(declared), 10)})",
            "its workers would end at once: the application does not create missing queues",
            "correct the queues in celery_worker_pools, or declare it in the application's task_queues",
        )
