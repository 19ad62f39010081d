# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backlog of the queues as every worker tells it to Prometheus.

It is read while a scrape waits, in the thread of that scrape and on a connection of its own: the consumer never waits
for it. What was read serves every scrape of the next seconds, of twenty times as long as the reading took at least,
so that it takes no more than a twentieth of the time however many messages lie unacknowledged.
"""

from __future__ import annotations

import threading
import time

from celery.utils.log import get_logger

from celeryops_probe import backlog
from celeryops_probe.state import seconds

__all__ = ("Backlog", "acknowledged")

logger = get_logger(__name__)

# Seconds for each answer of the broker; Prometheus itself gives up after 10.
WITHIN = 2.0
SHARE = 20


class Backlog:
    """The newest reading, and when the next one is due."""

    def __init__(self):
        self.interval = seconds("CELERYOPS_BACKLOG_INTERVAL", 10)
        self._lock = threading.Lock()
        self._due = 0.0
        self._told = []
        self._failed = False

    def samples(self, consumer):
        """(name, help, type, [(labels, value)]) of each metric family; of another broker than Redis none."""
        # A second scraper waits for the first one's reading, but not for ever.
        if self.interval > 0 and self._lock.acquire(timeout=2 * WITHIN):
            try:
                if time.monotonic() >= self._due:
                    self._read(consumer)
            finally:
                self._lock.release()
        return self._told

    def _read(self, consumer):
        begun, took = time.monotonic(), 0.0
        try:
            # Of several URLs the one that the consumer uses; while it has none, the first that answers.
            connection = consumer.connection.clone() if consumer.connection else consumer.app.connection_for_read()
            names, fanout = backlog.declared(consumer.app)
            if consumer.task_consumer is not None:
                names |= {queue.name for queue in consumer.task_consumer.queues if not _is_fanout(queue)}
            with backlog.opened(connection, WITHIN) as channel:
                found = backlog.read(channel, names, fanout)["queues"]
            self._told = list(_families(found, time.time()))
            self._failed = False
            took = time.monotonic() - begun
        except backlog.Unknown:
            self._told = []
        except Exception as problem:
            # Old figures would look like new ones: there are none until the broker answers again.
            self._told = [_up(0)]
            if not self._failed:
                logger.warning("celeryops_probe: the backlog cannot be read: %s: %s", type(problem).__name__, problem)
            self._failed = True
        # To wait for a broker that does not answer costs nothing: that is tried again soon.
        self._due = time.monotonic() + max(self.interval, SHARE * took)


def _is_fanout(queue):
    return getattr(queue.exchange, "type", None) == "fanout"


def _up(value):
    return "celery_broker_up", "The broker answered when the backlog was read last", "gauge", [({}, value)]


def _families(found, now):
    yield _up(1)
    yield "celery_queue_backlog_read_timestamp_seconds", "When the backlog was read", "gauge", [({}, now)]
    for name, kind, text in (
        ("celery_queue_ready", "ready", "Messages of the queue that wait in the broker"),
        ("celery_queue_backlog", "backlog", "Messages of the queue that wait, or are delivered and not acknowledged"),
    ):
        # Who sums this over workers counts every message once for each of them.
        advice = "; every worker tells the same, so take the max over workers"
        yield (
            name,
            text + advice,
            "gauge",
            [({"queue": queue}, counts[kind]) for queue, counts in sorted(found.items())],
        )


def acknowledged(active):
    """The family that completes the backlog under early acknowledgement: tasks that run and are in no list."""
    counts = {}
    # A copy in one step: the consumer's thread adds to the set meanwhile.
    for request in [reference() for reference in list(active.data)]:
        if request is not None and request.acknowledged:
            queue = (request.delivery_info or {}).get("routing_key") or ""
            counts[queue] = counts.get(queue, 0) + 1
    return (
        "celery_tasks_active_acknowledged",
        "Tasks of this worker that run and are no part of the backlog, being acknowledged; sum over workers",
        "gauge",
        [({"queue": queue}, number) for queue, number in sorted(counts.items())],
    )
