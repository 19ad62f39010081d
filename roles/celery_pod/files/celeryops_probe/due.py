# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which due time an entry is sent for, and how many passed without.

Celery sends an entry once for all of its due times since its last run. The newest of them is what it is sent for; those
between the last run and the newest were missed.
"""

from __future__ import annotations

import copy
import datetime

__all__ = ("MOST", "due_time", "next_due")

UTC = datetime.timezone.utc  # noqa: UP017 - Python 3.8
# Counting ends here: after days without beat, an entry of every minute is not to hold the others up.
MOST = 1000
# Where a look back for the newest due time begins, in seconds before now; then at the last run.
WINDOWS = (61, 3601, 86401, 8 * 86400, 32 * 86400)


def due_time(schedule, since, now):
    """``(newest due time, how many were missed before it)``, of those after ``since`` and until ``now``.

    All times are seconds since 1970. What Celery calls due by a rule of its own is due now.
    """
    clocked = getattr(schedule, "clocked_time", None)
    if clocked is not None:
        # Declared or enabled after its time, it is due from then on.
        return max(clocked.timestamp(), since), 0
    if hasattr(schedule, "run_every") and not hasattr(schedule, "remaining_delta"):
        every = schedule.run_every.total_seconds()
        passed = int((now - since) / every) if every > 0 else 0
        return (since + passed * every, passed - 1) if passed else (now, 0)
    try:
        newest = _newest(schedule, since, now)
        if newest is None:
            return now, 0
        missed, moment = 0, next_due(schedule, since)
        while moment < newest and missed < MOST:
            missed, moment = missed + 1, next_due(schedule, moment)
    except (RuntimeError, TypeError, ValueError):
        return now, 0
    return newest, missed


def _newest(schedule, since, now):
    for window in (*WINDOWS, None):
        start = since if window is None else max(since, now - window)
        found, moment = None, next_due(schedule, start)
        while moment <= now:
            found, moment = moment, next_due(schedule, moment)
        if found is not None or start == since:
            return found
    return None


def next_due(schedule, after):
    """The first due time after that moment, of a crontab or of the sun."""
    moment = datetime.datetime.fromtimestamp(after, UTC)
    schedule = copy.copy(schedule)
    if hasattr(schedule, "remaining_delta"):
        # A crontab looks at its clock too, whether the last run was today, and reads the fields in its own zone.
        moment = moment.astimezone(schedule.tz)
        schedule.nowfun = lambda: moment
        last, delta, _now = schedule.remaining_delta(moment)
        found = (last + delta).timestamp()
    else:
        schedule.nowfun = lambda: moment
        # A minute on, or the event itself would be the next one; and its time varies by less than a second.
        later = moment + datetime.timedelta(minutes=1)
        found = round((moment + schedule.remaining_estimate(later)).timestamp())
    if found <= after:
        raise ValueError("a schedule that does not go on")
    return found
