# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing lost, nothing for ever: how a worker receives, keeps and gives up messages on Redis.

With ``CELERYOPS_LEASE`` above 0 a worker that is silent for so many seconds has lost its messages: the
others deliver them again. One that lives keeps them for as long as it takes. A task that kills its
process more than ``CELERYOPS_REDELIVERY_LIMIT`` times becomes a dead letter.

Other brokers have this by themselves, and are left alone.
"""

from __future__ import annotations

import os
import socket
import time

from celery import bootsteps
from celery.exceptions import TaskRevokedError, WorkerLostError
from celery.utils.log import get_logger
from celery.worker import request as worker_request
from celery.worker import state as worker_state
from kombu.transport import virtual

from celeryops_probe import ending
from celeryops_probe.state import seconds

__all__ = ("Delivery", "install", "samples")

logger = get_logger(__name__)

# Seconds after which a task that must run apart from others like it is tried again
AGAIN = 1.0

_current = None


class Delivery(bootsteps.StartStopStep):
    """Started after the task consumer is made and before it consumes; again after each reconnect."""

    name = "celeryops_probe.delivery:Delivery"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer, **kwargs):
        super().__init__(consumer, **kwargs)
        from celeryops_probe import drill, holding, keeper  # noqa: PLC0415  they need kombu's transport for Redis

        self.holding_module = holding
        started = f"{consumer.hostname}|{os.getpid()}@{socket.gethostname()}|{time.time():.3f}"
        limit = int(seconds("CELERYOPS_REDELIVERY_LIMIT", 3))
        self.holding = holding.Holding(started, seconds("CELERYOPS_LEASE", 0), limit)
        self.keeper = keeper.Keeper(consumer.app, self.holding)
        self.running = False
        self.starts = drill.Starts(consumer.app, self.holding.worker)
        self._watch_starts(consumer)
        self._watch_deaths()
        ending.listeners.append(self._leave)
        global _current  # noqa: PLW0603  one worker per process: the metrics have no other place
        _current = self

    def start(self, consumer):
        self.holding.prefork = consumer.pool.__class__.__module__ == "celery.concurrency.prefork"
        pause = seconds("CELERYOPS_POLL", 0.2)
        fetcher = self.holding_module.Fetcher(consumer.task_consumer.channel, self.holding, pause)
        fetcher.install()
        if not self.running:
            self.running = True
            self.keeper.start()

    def stop(self, consumer):
        if consumer.blueprint.state == bootsteps.RUN:
            self.holding.connection_lost()

    def _leave(self):
        self.holding.leaving = True

    def _watch_starts(self, consumer):
        """Every pool is given its tasks by this one method, which the tasks' strategies are about to copy."""
        pool = consumer.pool
        apply_async = pool.apply_async

        def noted(target, args=None, kwargs=None, **options):
            request = getattr(options.get("accept_callback"), "__self__", None)
            if isinstance(request, worker_request.Request):
                answer = self.holding.may_start(request)
                if answer == self.holding_module.NO:
                    self._drop(request)
                elif answer == self.holding_module.ALONE:
                    consumer.timer.call_after(AGAIN, consumer.on_task_request, (request,))
                if answer != self.holding_module.YES:
                    # Celery's own way out at this point: the slot is free again.
                    raise TaskRevokedError(request.id)
            return apply_async(target, args, kwargs, **options)

        pool.apply_async = noted

    def _drop(self, request):
        logger.warning("celeryops: %s[%s] was taken over and does not start here", request.name, request.id)
        worker_state.task_ready(request)
        virtual.QoS.ack(request.message.channel.qos, request.message.delivery_tag)

    def _watch_deaths(self):
        """A child's death is told to the request, and the message is rejected some time later."""
        on_failure = worker_request.Request.on_failure

        def noted(request, exc_info, *args, **kwargs):
            exc = getattr(exc_info.exception, "exc", exc_info.exception)
            if isinstance(exc, WorkerLostError):
                self.holding.lost_process(request, exc)
            return on_failure(request, exc_info, *args, **kwargs)

        worker_request.Request.on_failure = noted


def install(controller):
    """Called as the worker is set up, before its blueprints are built. True when it has a part in this worker."""
    lease = seconds("CELERYOPS_LEASE", 0)
    if lease <= 0:
        return False
    with controller.app.connection_for_read() as connection:
        driver = connection.transport.driver_type
        emulated = (controller.app.conf.broker_transport_options or {}).get("ack_emulation", True)
    if driver != "redis" or not emulated:
        return False
    controller.app.steps["consumer"].add(Delivery)
    return True


def samples():
    """Metric families, none where this has no part."""
    if _current is None:
        return
    holding, keeper = _current.holding, _current.keeper
    returned = [({"reason": reason}, count) for reason, count in holding.returned.items()]
    yield "celery_tasks_redelivered_total", "Messages that this worker put back", "counter", returned
    yield "celery_tasks_dead_lettered_total", "Tasks given up by this worker", "counter", [({}, holding.buried)]
    yield "celery_dead_letters", "Dead letters of the broker", "gauge", [({}, keeper.dead_letters)]
    yield "celery_tasks_held", "Messages that this worker holds", "gauge", [({}, len(holding.messages))]
    silence = -1 if keeper.heard_at is None else round(keeper.clock() - keeper.heard_at, 3)
    yield "celery_lease_age_seconds", "Since the lease was renewed; -1 before", "gauge", [({}, silence)]
