# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The heartbeat of beat: a tick of its scheduler, whichever scheduler that is.

``alive`` follows the ticks. ``ready`` also falls when a due task could not be sent: against a
read-only replica beat ticks on, even advances ``last_run_at``, and publishes nothing.
"""

from __future__ import annotations

from celeryops_probe import changes
from celeryops_probe.state import Deadline, seconds

__all__ = ("install",)


def install(service):
    """Wrap two public methods of this service's scheduler instance; its class stays as it is."""
    scheduler = service.scheduler
    changes.watch(scheduler)
    alive, ready = Deadline("alive"), Deadline("ready")
    # A tick may wait for the broker: ten retries take about 110 s and bring their own timeouts.
    limit = seconds("CELERYOPS_SILENCE_LIMIT", 180)
    tick, apply_async = scheduler.tick, scheduler.apply_async
    refused = []

    def probed_apply_async(entry, *args, **kwargs):
        try:
            result = apply_async(entry, *args, **kwargs)
        except Exception:
            refused.append(entry.name)
            raise
        refused.clear()
        return result

    def probed_tick(*args, **kwargs):
        pause = tick(*args, **kwargs)
        allowed = limit + max(pause or 0, 0)
        if refused:
            ready.drop()
            alive.allow(allowed, f"ticking, but {refused[-1]!r} could not be sent")
        else:
            ready.allow(allowed, "ticking")
            alive.allow(allowed, "ticking")
        return pause

    scheduler.apply_async, scheduler.tick = probed_apply_async, probed_tick
    # A file of a process that was here before: a volume outlives a container.
    ready.drop()
    alive.allow(limit, "scheduler loaded, first tick to come")
