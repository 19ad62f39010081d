# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a scheduler that reads its entries from a database see every change to them.

django-celery-beat's DatabaseScheduler looks at the time of the newest change and reads its entries anew when that
has grown. Three kinds of change escape it:

- one that is written between its first reading and its first look: the first time that it sees counts as known. A beat
  that starts in that moment ticks on with an old schedule, or with none, for minutes; releases before 2.8 for ever;
- the very first change of all, for the same reason;
- one whose time is earlier than the last one's: writers have clocks of their own, and commit in another order than
  they looked at them.

Also, where the database does not answer while the scheduler reads its entries, beat ends. It could go on with those
that it has, as it does in every other case.

Nothing of Django is imported: what is wrapped are methods and an attribute of this one scheduler.
"""

from __future__ import annotations

from celery.utils.log import get_logger

__all__ = ("watch",)

logger = get_logger(__name__)


class Watched:
    """Reads anew whatever differs from what was last read, and at first in any case."""

    def __init__(self, scheduler):
        self.scheduler = scheduler
        self.looked, self.read = scheduler.schedule_changed, scheduler.all_as_schedule
        self.seen = self.known = None
        scheduler.schedule_changed, scheduler.all_as_schedule = self.schedule_changed, self.all_as_schedule

    def forget(self):
        """Read anew at the next opportunity."""
        self.known = None

    def schedule_changed(self):
        # With None there, the scheduler only notes what it sees: a time, or still None where it could not look or
        # nothing was ever changed.
        self.scheduler._last_timestamp = None
        told = self.looked()
        self.seen = self.scheduler._last_timestamp
        return told or (self.seen is not None and self.seen != self.known)

    def all_as_schedule(self):
        # A change that comes during the reading is seen as one more: what was seen is older than what is read.
        seen = self.seen
        try:
            schedule = self.read()
        except Exception:
            if self.scheduler._schedule is None:
                raise
            logger.exception("beat: the entries could not be read; going on with those that were read before")
            self.known = None
            return self.scheduler._schedule
        self.known = seen
        return schedule


def watch(scheduler):
    """Wraps such a scheduler; None for one of another kind."""
    if all(hasattr(scheduler, name) for name in ("schedule_changed", "all_as_schedule", "_last_timestamp")):
        return Watched(scheduler)
    return None
