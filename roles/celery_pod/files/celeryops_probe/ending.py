# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker's cold shutdown begins between two steps of its loop, and ends when its tasks have.

Celery stops the pool in the handler of the signal, wherever that has interrupted the main thread. Where that
was in the middle of reading a child's result, the result is lost to the handler: the pool waits for it until
the children give up, half a minute later, and by then the pod has been killed. And its soft shutdown sleeps
for the whole of ``worker_soft_shutdown_timeout``, though the last task ends after a second.

So in a worker with an event loop the handler only rings. The loop goes on without a consumer: it reads
results, acknowledges, starts nothing. When no task runs any more, or the time is over, Celery's own handler
has its turn. Pools without a loop have no such results; there everything stays as it is.
"""

from __future__ import annotations

import os
import signal
import time

from celery import bootsteps, signals
from celery.exceptions import TaskRevokedError
from celery.utils.log import get_logger
from celery.worker import state as worker_state

__all__ = ("Ending", "install", "listeners")

logger = get_logger(__name__)

# Called once, when the worker begins to leave, however it was told to
listeners = []


class Ending(bootsteps.StartStopStep):
    """Started after the task consumer is made and before the loop begins; again after each reconnect."""

    name = "celeryops_probe.ending:Ending"
    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer, **kwargs):
        super().__init__(consumer, **kwargs)
        self.consumer = consumer
        # Celery's handler, once its signal was received while the loop ran; and until when its tasks may go on
        self.handler = None
        self.deadline = None
        self.looping = self.told = self.finished = False
        self.bell = None
        self.pid = os.getpid()
        # Without a loop there is nothing to be done in it. Celery has a soft shutdown since 5.5.
        self.hub = consumer.hub if hasattr(consumer.controller, "wait_for_soft_shutdown") else None
        if self.hub is not None:
            self._watch_starts(consumer)
        self._watch_the_end(consumer.controller)

    def start(self, consumer):
        if self.hub is None:
            return
        if self.bell is None:
            # A handler may write to a pipe. What the hub has for this takes a lock, and the loop may hold it.
            self.bell, ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            for number in _signals():
                self._take_over(number, ring)
        self.hub.add_reader(self.bell, self._rung)
        self.looping = True

    def stop(self, consumer):
        self.looping = False
        if self.handler is not None:
            # The broker was lost while the last tasks ran. A new connection would only bring new ones.
            self._finish()

    def _take_over(self, number, ring):
        handler = signal.getsignal(number)

        def begin(signum, frame):
            # A child that is made later begins with this handler: it must not ring for its parent.
            if not self.looping or self.finished or os.getpid() != self.pid:
                handler(signum, frame)
                return
            if self.handler is None:
                self.handler = lambda: handler(signum, None)
                self.deadline = time.monotonic() + self.consumer.app.conf.worker_soft_shutdown_timeout
            else:
                # Asked twice: without waiting.
                self.deadline = 0.0
            os.write(ring, b".")

        # Celery's handler puts others in the place of this one: those interrupt the pool's stop, as they should.
        signal.signal(number, begin)

    def _rung(self):
        os.read(self.bell, 64)
        if self.told:
            # The second time. Each turn of the loop looks at the deadline.
            return
        self._tell()
        running = len(worker_state.active_requests)
        if running:
            logger.warning("celeryops: stopping, %d tasks have %g s to end", running, self.deadline - time.monotonic())
        self.consumer.task_consumer.cancel()
        # Whenever a child reports a result there is a turn of the loop; without one only when a timer is due.
        self.hub.on_tick.add(self._look)
        self.hub.timer.call_after(max(0.0, self.deadline - time.monotonic()), self._look)

    def _look(self):
        idle = not worker_state.active_requests and not self.consumer.app.conf.worker_enable_soft_shutdown_on_idle
        if idle or time.monotonic() >= self.deadline:
            self._finish()

    def _finish(self):
        if not self.finished:
            self.finished = True
            self.hub.on_tick.discard(self._look)
            self.handler()

    def _tell(self, **_):
        if not self.told:
            self.told = True
            for listener in listeners:
                listener()

    def _watch_the_end(self, controller):
        signals.worker_shutting_down.connect(self._tell, weak=False)
        wait = getattr(controller, "wait_for_soft_shutdown", None)
        if wait is not None:
            # The signal is sent when the soft part is over.
            controller.wait_for_soft_shutdown = lambda: self._soft_shutdown(wait)

    def _soft_shutdown(self, wait):
        self._tell()
        if not self.finished:
            wait()

    def _watch_starts(self, consumer):
        """Every pool is given its tasks by this one method, which the tasks' strategies are about to copy."""
        apply_async = consumer.pool.apply_async

        def unless_leaving(target, args=None, kwargs=None, **options):
            if self.handler is None:
                return apply_async(target, args, kwargs, **options)
            # Celery's own way out at this point. The message goes back when the channel closes.
            raise TaskRevokedError("the worker is stopping")

        consumer.pool.apply_async = unless_leaving


def _signals():
    """Those by which Celery begins a cold shutdown."""
    yield signal.SIGQUIT
    if os.environ.get("REMAP_SIGTERM") == "SIGQUIT":
        yield signal.SIGTERM


def install(controller):
    """Called as the worker is set up, before its blueprints are built."""
    controller.app.steps["consumer"].add(Ending)
