# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts of the tasks that a drill sent, written down by the process that runs them.

The main process only knows what it has dispatched: what it then has no time to hand to a child never ran.
"""

from __future__ import annotations

import os

from celery import signals
from celery.utils.log import get_logger

from celeryops_probe.holding import plain_client
from celeryops_probe.ledger import DRILL, Ledger

__all__ = ("Starts",)

logger = get_logger(__name__)


class Starts:
    """Connects only in a process that runs a drill's task, and then once."""

    def __init__(self, app, worker):
        self.app = app
        self.worker = worker
        self.pid = self.connection = self.client = self.ledger = None
        signals.task_prerun.connect(self._on_prerun, weak=False)

    def _on_prerun(self, task_id=None, task=None, **_):
        run = getattr(task.request, DRILL, None)
        if run:
            try:
                if self.pid != os.getpid():
                    self._connect()
                self.ledger.note(self.client, run, task_id, "started")
            except Exception as exc:  # the task is the application's, and runs in any case
                self.pid = None
                logger.warning("celeryops: the start of %s is not recorded: %s", task_id, exc)

    def _connect(self):
        # It is kept: the connections of the channel end with it.
        self.connection = self.app.connection_for_write()
        channel = self.connection.channel()
        self.ledger, self.client = Ledger(channel, self.worker), plain_client(channel)
        self.pid = os.getpid()
