# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""One beat that acts, whichever scheduler it has: its heartbeat, its election and the claims on due times.

``alive`` follows the ticks, or the waiting of a standby. ``ready`` also falls when a due task could not be sent, when
the lease is not to be had or when no due time can be claimed: against a read-only replica beat would tick on, even
advance ``last_run_at``, and publish nothing.
"""

from __future__ import annotations

import datetime
import os
import time

from celery.schedules import schedstate
from celery.utils.log import get_logger
from celery.utils.time import maybe_make_aware

from celeryops_probe import changes, lease
from celeryops_probe.claims import ClaimError, ClaimsRefused, Fenced, Record, open_claims
from celeryops_probe.due import MOST, due_time
from celeryops_probe.state import Deadline, seconds

__all__ = ("install",)

logger = get_logger(__name__)

# Seconds after which a beat that does not act, or cannot claim, looks again.
PAUSE = 0.5
# Seconds for an entry that is due but cannot be claimed.
LATER = 2.0


class Beat:
    """What stands between this service's scheduler and the broker; the scheduler's class stays as it is."""

    def __init__(self, service, candidate, claims):
        self.scheduler = scheduler = service.scheduler
        self.candidate, self.claims = candidate, claims
        self.changes = changes.watch(scheduler)
        self.alive, self.ready = Deadline("alive"), Deadline("ready")
        # A tick may wait for the broker: ten retries take about 110 s and bring their own timeouts.
        self.limit = seconds("CELERYOPS_SILENCE_LIMIT", 180)
        self.term = None
        self.claimed = {}
        self.missed = 0
        self.unclaimed = self.refused = None
        self._tick, self._is_due = scheduler.tick, scheduler.is_due
        self._apply_async, self._close = scheduler.apply_async, scheduler.close
        scheduler.tick, scheduler.is_due = self.tick, self.is_due
        scheduler.apply_async, scheduler.close = self.apply_async, self.close

    def acts(self):
        return self.candidate is None or self.candidate.acts()

    def tick(self, *args, **kwargs):
        if not self.acts():
            return self.stand_by()
        term = self.candidate.term if self.candidate else 0
        if term != self.term and not self.take_over(term):
            self.report(0)
            return PAUSE
        pause = self._tick(*args, **kwargs)
        self.report(max(pause or 0, 0))
        return pause

    def report(self, pause):
        what = "ticking" if self.candidate is None else "acting"
        if self.missed:
            what += f", {self.missed} due times were missed"
        problem = self.unclaimed or self.refused
        if problem:
            self.ready.drop()
            self.alive.allow(self.limit + pause, f"{what}, but {problem}")
        else:
            self.ready.allow(self.limit + pause, what)
            self.alive.allow(self.limit + pause, what)

    def stand_by(self):
        """Loaded and waiting."""
        self.term = None
        if self.candidate.lost():
            # Last runs that this one has not written yet are older than those of the other one.
            getattr(self.scheduler, "_dirty", set()).clear()
        if self.candidate.works():
            self.alive.allow(self.limit, self.candidate.told())
        if self.candidate.waits():
            self.ready.allow(self.limit, self.candidate.told())
        else:
            self.ready.drop()
        return PAUSE

    def take_over(self, term):
        """Learns what was sent while this beat did not act. False where that is not to be learned yet."""
        try:
            if self.changes is not None:
                self.changes.forget()
            entries = list(self.scheduler.schedule.values())
            if self.claims is not None:
                self.claims.begin()
                for entry, record in zip(entries, self.claims.records([each.name for each in entries])):  # noqa: B905 - Python 3.8
                    # Without a row of its own in a database, an entry that has just been loaded knows nothing.
                    blank = not hasattr(entry, "model") and not entry.total_run_count
                    if record is not None and (blank or (record.sent and record.at > since(entry))):
                        adopt(entry, record)
        except ClaimError as problem:
            self.unclaimable(problem)
            return False
        self.scheduler._heap = None
        self.term, self.unclaimed, self.refused = term, None, None
        self.claimed.clear()
        return True

    def unclaimable(self, problem):
        if isinstance(problem, ClaimsRefused):
            logger.warning("beat: due times are not claimed, for the broker does not let this user do it: %s", problem)
            self.claims = None
            return
        if isinstance(problem, Fenced):
            # Ask who acts, and begin again if it is still this one.
            self.term = None
        text = f"no due time can be claimed: {problem}"
        if text != self.unclaimed:
            logger.error("beat: %s", text)
        self.unclaimed = text

    def is_due(self, entry):
        """Claims what is due; what cannot be claimed stays due and costs no run."""
        due, pause = self._is_due(entry)
        if due and not self.acts():
            return schedstate(False, 0)
        if not due or self.claims is None:
            return due, pause
        try:
            found = self.claim(entry)
        except ClaimError as problem:
            self.unclaimable(problem)
            return schedstate(False, LATER)
        self.unclaimed = None
        if isinstance(found, Record):
            # It was sent already, by another beat or by this one before it could write that down.
            adopt(entry, found)
            self.scheduler._heap = None
            return schedstate(False, 0)
        self.claimed[entry.name] = found
        return due, pause

    def claim(self, entry):
        last = since(entry)
        start = getattr(getattr(entry, "model", None), "start_time", None)
        first = last if start is None else max(last, maybe_make_aware(start).timestamp())
        due, missed = due_time(entry.schedule, first, time.time())
        once = bool(getattr(getattr(entry, "model", None), "one_off", False))
        found = self.claims.claim(entry.name, last, due, entry.total_run_count + 1, missed, once)
        if not isinstance(found, Record):
            self.tell(entry, found, missed, first)
        return found

    def tell(self, entry, claim, missed, last):
        before = claim.before
        if before is not None and not before.sent and before.holder != self.claims.holder:
            became = "sent now" if before.due == claim.due else "missed"
            logger.warning(
                "beat: %r, due at %s, was claimed by %s and not sent; it is %s",
                *(entry.name, shown(before.due), before.holder, became),
            )
        if missed and not (before is not None and not before.sent and before.due == claim.due):
            self.missed += missed
            logger.warning(
                "beat: %r missed %s%d due times between %s and %s, for which no beat acted in time",
                *(entry.name, "at least " if missed >= MOST else "", missed, shown(last), shown(claim.due)),
            )

    def apply_async(self, entry, *args, **kwargs):
        claim = self.claimed.pop(entry.name, None)
        try:
            if claim is None and self.claims is not None:
                # A scheduler that ticks in a way of its own.
                claim = self.claim(entry)
                if isinstance(claim, Record):
                    logger.info("beat: %r was sent already", entry.name)
                    return None
            if claim is None:
                if not self.acts():
                    raise ClaimError("this beat does not act any more")
                result = self._apply_async(entry, *args, **kwargs)
            else:
                with self.claims.sending(claim, self.acts):
                    result = self._apply_async(labelled(entry, claim), *args, **kwargs)
        except Exception:
            self.refused = f"{entry.name!r} could not be sent"
            raise
        self.refused = None
        return result

    def close(self, *args, **kwargs):
        """On the way out: what was sent is written down before another one acts."""
        try:
            self._close(*args, **kwargs)
        finally:
            if self.candidate is not None:
                self.candidate.leave()


def labelled(entry, claim):
    """The same entry, whose message says who sent it, as django-celery-beat's do, and for which due time."""
    labels = {"periodic_task_name": entry.name, "celeryops_due": shown(claim.due, "microseconds")}
    # Not copied by its own means: those make another entry of the arguments that its class takes.
    same = object.__new__(type(entry))
    same.__dict__.update(entry.__dict__)
    same.options = {**entry.options, "headers": {**labels, **(entry.options.get("headers") or {})}}
    return same


def since(entry):
    """The entry's last run as its scheduler knows it, in seconds since 1970."""
    return maybe_make_aware(entry.last_run_at).timestamp()


def adopt(entry, record):
    """The entry's last run was then: what this scheduler did not know. What was claimed and not sent was no run."""
    moment, runs = (record.at, record.runs) if record.sent else (record.since, record.runs - 1)
    at = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc)  # noqa: UP017 - Python 3.8
    # In the zone that it was in, for crontabs read it as it is; without one, UTC is meant.
    zone = entry.last_run_at.tzinfo
    at = at.replace(tzinfo=None) if zone is None else at.astimezone(zone)
    runs = max(entry.total_run_count, runs)
    for each in (entry, getattr(entry, "model", None)):
        if each is not None:
            each.last_run_at, each.total_run_count = at, runs


def shown(moment, digits="seconds"):
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).isoformat(timespec=digits)  # noqa: UP017


def install(service):
    """Wraps this service's scheduler, and takes part in the election where there is one."""
    candidate = lease.candidate()
    claims = None
    if os.environ.get("CELERYOPS_CLAIMS", "1") != "0":
        holder = candidate.election.identity if candidate else lease.identity()
        claims = open_claims(service.app, holder, elected=candidate is not None)
    beat = Beat(service, candidate, claims)
    # A file of a process that was here before: a volume outlives a container.
    beat.ready.drop()
    beat.alive.allow(beat.limit, "scheduler loaded, first tick to come")
    if candidate is not None:
        candidate.start()
