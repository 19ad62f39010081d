# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker says about itself: a bootstep in its consumer, its metrics, and a remote-control answer.

``alive`` and ``ready`` follow evidence of consuming, taken in the consumer's own loop:

- the broker answered the consumer's own poll (on Redis: BRPOP returns every second, tasks or not), or
- the worker holds as many tasks as it may and so does not poll: busy is healthy.

A stopped process, a loop that hangs and a connection that is dead without an error all end this
evidence. A lost connection that the worker knows about is no reason to kill it and the tasks it
runs: it reconnects, or gives up by itself after its own number of retries.
"""

from __future__ import annotations

import os
import time

from celery import bootsteps, signals
from celery.utils.log import get_logger
from celery.worker import state as worker_state
from celery.worker.control import inspect_command

from celeryops_probe import delivery, ending, metrics
from celeryops_probe.listening import listens
from celeryops_probe.state import Deadline, seconds, uptime

__all__ = ("ConsumerProbe", "install")

logger = get_logger(__name__)


class Probe:
    """What this worker process knows about its health."""

    def __init__(self):
        self.interval = seconds("CELERYOPS_INTERVAL", 5)
        self.silence_limit = seconds("CELERYOPS_SILENCE_LIMIT", 60)
        self.reconnect_limit = seconds("CELERYOPS_RECONNECT_LIMIT", 300)
        self.task_limit = seconds("CELERYOPS_TASK_LIMIT", 3600)
        self.alive, self.ready = Deadline("alive"), Deadline("ready")
        self.consuming_at = None
        self.answered_at = None
        self.pid = os.getpid()
        self.solo = False
        self.observed = metrics.Aggregator()

    def consuming(self, what, extra=0.0):
        """There is evidence right now; ``extra`` seconds of silence are announced."""
        self.consuming_at = uptime()
        self.alive.allow(self.silence_limit + extra, what)
        self.ready.allow(self.silence_limit / 2 + extra, what)

    def stopped(self, closing):
        """The consumer stopped: the worker shuts down, or has lost its broker."""
        self.ready.drop()
        self.consuming_at = self.answered_at = None
        # In a shutdown the grace period is the limit, and it is Kubernetes that keeps it.
        self.alive.allow(self.reconnect_limit, "shutting down" if closing else "reconnecting to the broker")


probe: Probe | None = None


class ConsumerProbe(bootsteps.StartStopStep):
    """Started after the task consumer, at the start and after each reconnect."""

    name = "celeryops_probe.worker:ConsumerProbe"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer, **kwargs):
        super().__init__(consumer, **kwargs)
        self.timer = None
        self.observable = False

    def start(self, consumer):
        probe.solo = consumer.pool.__class__.__module__ == "celery.concurrency.solo"
        self.observable = self._watch_answers(consumer)
        self.timer = consumer.timer.call_repeatedly(probe.interval, self._from_timer, (consumer,))
        metrics.serve(probe, consumer)

    def stop(self, consumer):
        if self.timer:
            self.timer.cancel()
            self.timer = None
        probe.stopped(closing=consumer.blueprint.state != bootsteps.RUN)

    shutdown = stop

    def _from_timer(self, consumer):
        # Pools without an event loop run timers in a thread of their own, which would go on ticking
        # beside a consumer that hangs. call_soon is served by the consumer's loop in every case.
        consumer.call_soon(self.tick, consumer)

    def tick(self, consumer):
        """In the consumer's loop: look for evidence."""
        task_consumer = consumer.task_consumer
        if task_consumer is None or not consumer.connection or not consumer.connection.connected:
            return
        if consumer.hub and not listens(consumer.connection):
            # Celery's own way out: the consumer starts anew, with all of its connections.
            raise ConnectionError("celeryops: remote control does not listen any more")
        queues = f"consuming from {len(task_consumer.queues)} queues"
        answered = probe.answered_at is not None and uptime() - probe.answered_at < 2 * probe.interval
        if answered or not self.observable:
            probe.consuming(queues)
        elif not task_consumer.channel.qos.can_consume():
            probe.consuming(f"holding {len(worker_state.reserved_requests)} tasks, as many as it may")

    def _watch_answers(self, consumer):
        """Note each answer to this consumer's own poll. False where the transport has no such poll."""
        handlers = getattr(consumer.task_consumer.channel, "handlers", None)
        if not isinstance(handlers, dict) or "BRPOP" not in handlers:
            return False
        read = handlers["BRPOP"]

        def noted(**options):
            try:
                # An empty answer is raised as Empty, so the note is taken in any case but an error.
                return read(**options)
            except consumer.connection_errors:
                failed.append(True)
                raise
            finally:
                if failed:
                    failed.clear()
                else:
                    probe.answered_at = uptime()
                    if probe.consuming_at is None:
                        consumer.call_soon(self.tick, consumer)

        failed = []
        handlers["BRPOP"] = noted
        return True


@inspect_command(default_timeout=3.0)
def celeryops_probe(state, **_):
    """This worker's health, its task counts and the newest runs of tasks that beat sent."""
    now = uptime()
    consumer = state.consumer
    return {
        "pid": probe.pid,
        "consuming": probe.consuming_at is not None,
        "consuming_age": None if probe.consuming_at is None else round(now - probe.consuming_at, 1),
        "queues": sorted(queue.name for queue in consumer.task_consumer.queues),
        "concurrency": consumer.pool.num_processes,
        "prefetch_multiplier": consumer.controller.prefetch_multiplier,
        "time": time.time(),
        **probe.observed.summary(),
    }


def _in_solo(limit_of):
    """Solo runs a task in the consumer's loop: announce how long that may take."""
    if probe.solo and os.getpid() == probe.pid:
        limit = limit_of() or probe.task_limit
        probe.consuming("running a task in the consumer's own loop", extra=limit)


def _on_prerun(sender=None, task_id=None, task=None, **_):
    probe.observed.started(task_id)
    limits = task.request.timelimit or (None, None)
    _in_solo(lambda: limits[0] or task.time_limit)


def _on_postrun(sender=None, task_id=None, task=None, state=None, **_):
    request = task.request
    # Celery puts a message's own headers beside its standard ones.
    sent_by = getattr(request, "periodic_task_name", None)
    queue = (request.delivery_info or {}).get("routing_key")
    probe.observed.finished(task_id, task.name, state or "UNKNOWN", queue, sent_by)
    if probe.solo and os.getpid() == probe.pid:
        probe.consuming("ran a task in the consumer's own loop")


def _on_received(sender=None, request=None, **_):
    probe.observed.received(request.name, request.delivery_info.get("routing_key"))


def _on_failure(sender=None, task_id=None, **_):
    # A prefork child reports its own end of a task. The parent sends this signal only for a
    # child that could not: killed, out of memory, over its hard time limit.
    if os.getpid() == probe.pid and not probe.observed.is_here(task_id):
        probe.observed.lost(sender.name)


def install(controller):
    """Called as the worker is set up, before its blueprints are built and before a pool forks."""
    global probe  # noqa: PLW0603  one worker per process: the signals' handlers have no other place
    probe = Probe()
    if delivery.install(controller):
        # It replaces the poll that the probe watches.
        ConsumerProbe.requires = (*ConsumerProbe.requires, delivery.Delivery)
        # And notes what starts: what is not to start any more must not come to it.
        ending.Ending.requires = (*ending.Ending.requires, delivery.Delivery)
    ending.install(controller)
    ending.listeners.append(lambda: probe.stopped(closing=True))
    controller.app.steps["consumer"].add(ConsumerProbe)
    for signal, handler in (
        (signals.task_received, _on_received),
        (signals.task_prerun, _on_prerun),
        (signals.task_postrun, _on_postrun),
        (signals.task_failure, _on_failure),
    ):
        signal.connect(handler, weak=False, dispatch_uid="celeryops_probe")
    # Files of a process that was here before: a volume outlives a container.
    probe.ready.drop()
    probe.alive.allow(probe.reconnect_limit, "starting")
