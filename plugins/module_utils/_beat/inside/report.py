# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each entry of django-celery-beat: its last and next run, why it has none, and what was missed."""

# Django and Celery are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import copy
import datetime
import zoneinfo
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Known", "claims", "ignored", "next_run", "report"]

Json = dict[str, Any]
UTC = datetime.timezone.utc  # noqa: UP017 - Python 3.9
# What role celery_pod's beats keep of an entry in the application's own Redis: celeryops_probe/claims.py writes it.
FIELDS = ("due", "at", "sent", "holder", "missed", "missed_at")


@dataclass(frozen=True)
class Known:
    """What the row says beside what is declared of it; all None for an entry that is not there yet."""

    last_run: datetime.datetime | None = None
    changed: datetime.datetime | None = None
    runs: int = 0


def report(
    rows: Mapping[str, Json],
    known: Mapping[str, Known],
    declared: Mapping[str, Json],
    app: Any,
    now: datetime.datetime,
) -> tuple[list[Json], list[str]]:
    """An item for each of these rows, as :func:`schedule._as_row` reads them, and warnings."""
    tasks = {name for name in app.tasks if name}
    found, warnings = claims(app, list(rows))
    items = []
    for name, row in rows.items():
        one, claim = known.get(name, Known()), found.get(name, {})
        sent = _moment(claim.get("at")) if claim.get("sent") == "1" else None
        # Beat writes the row later, or never where it is killed before that.
        last = max((moment for moment in (one.last_run, sent) if moment is not None), default=None)
        reason = ignored(row, one, declared.get(name), tasks, now)
        coming, problem = (None, None) if reason else _coming(row, last or one.changed or now)
        items.append(
            {
                "name": name,
                "declared": name in declared,
                "task": row["task"],
                "last_run": _text(last),
                "next_run": _text(coming),
                "runs": one.runs,
                "ignored": reason or problem,
                "missed": int(claim["missed"] or 0) if claim else None,
                "missed_at": _text(_moment(claim.get("missed_at"))),
                "unsent": _unsent(claim),
            }
        )
    return items, warnings


def ignored(
    row: Json, known: Known, declared: Json | None, tasks: Collection[str], now: datetime.datetime
) -> str | None:
    """Why the entry's task never runs as things are; None where it does, in time."""
    schedule = row["schedule"]
    expires = row["expires"] and datetime.datetime.fromisoformat(row["expires"])
    reason = None
    if not schedule:
        reason = "no schedule: beat ends at it when it starts"
    elif not row["enabled"]:
        reason = "disabled"
        if row["one_off"] and declared is not None and declared["enabled"]:
            reason = "it comes once, and has run"
        elif "clocked" in schedule and _past(schedule, now):
            reason = f"disabled, and its time was {schedule['clocked']['clocked_time']}"
    elif row["one_off"] and known.runs > 0:
        reason = "it comes once, and has run"
    elif expires and expires <= now:
        reason = f"expired at {row['expires']}"
    elif isinstance(row["args"], str) or isinstance(row["kwargs"], str):
        reason = "args or kwargs are no JSON: beat disables it"
    elif row["task"] not in tasks:
        reason = f"the application has no task {row['task']!r}: workers refuse it"
    return reason


def _past(schedule: Json, now: datetime.datetime) -> bool:
    return datetime.datetime.fromisoformat(schedule["clocked"]["clocked_time"]) <= now


def _coming(row: Json, after: datetime.datetime) -> tuple[datetime.datetime | None, str | None]:
    """The first due time after a moment, and why there is none. One that is past is sent as soon as a beat acts."""
    start = row["start_time"] and datetime.datetime.fromisoformat(row["start_time"])
    try:
        if start and start > after:
            # An interval begins at its start; a crontab has times of its own.
            return (start if "interval" in row["schedule"] else next_run(row["schedule"], start)), None
        return next_run(row["schedule"], after), None
    except (RuntimeError, TypeError, ValueError) as problem:
        # Celery looks for a day that does not exist, and gives up by an error that nobody catches.
        return None, f"never due, and beat ends at it: {problem}"


def next_run(fields: Json, after: datetime.datetime) -> datetime.datetime:
    """The first due time after a moment; ``fields`` as :func:`schedule._as_row` reads them."""
    from django_celery_beat import models

    ((kind, values),) = fields.items()
    if kind == "clocked":
        return datetime.datetime.fromisoformat(values["clocked_time"])
    if kind == "crontab":
        values = {**values, "timezone": zoneinfo.ZoneInfo(values["timezone"])}
    elif kind == "solar":
        values = {**values, "latitude": float(values["latitude"]), "longitude": float(values["longitude"])}
    schedule = copy.copy(getattr(models, f"{kind.capitalize()}Schedule")(**values).schedule)
    found: datetime.datetime
    if kind == "interval":
        found = after + schedule.run_every
    elif kind == "solar":
        schedule.nowfun = lambda: after
        # A minute on, or the event itself would be the next one.
        found = after + schedule.remaining_estimate(after + datetime.timedelta(minutes=1))
    else:
        # A crontab reads its fields in its own zone, and looks at its clock for whether the last run was today.
        moment = after.astimezone(schedule.tz)
        schedule.nowfun = lambda: moment
        last, delta, _now = schedule.remaining_delta(moment)
        found = last + delta
    return found


def claims(app: Any, names: list[str]) -> tuple[dict[str, Json], list[str]]:
    """What beats have noted of these entries, by name; nothing where the broker is another one or not to be asked."""
    with app.connection_for_write() as connection:
        if connection.transport.driver_type != "redis":
            return {}, []
        try:
            connection.ensure_connection(max_retries=1, timeout=5)
            with connection.channel() as channel, channel.conn_or_acquire() as client:
                pipeline = client.pipeline(transaction=False)
                for name in names:
                    for field in FIELDS:
                        pipeline.hget(f"celeryops:beat:{app.main or ''}:claim:{name}", field)
                values = [one.decode() if isinstance(one, bytes) else one for one in pipeline.execute()]
        except Exception as problem:
            why = f"{type(problem).__name__}: {problem}"
            return {}, [f"What beat has missed cannot be told, for the broker was not to be asked: {why}"]
    size = len(FIELDS)
    rows = {name: dict(zip(FIELDS, values[n * size : n * size + size])) for n, name in enumerate(names)}  # noqa: B905 - Python 3.9
    return {name: row for name, row in rows.items() if row["due"] is not None}, []


def _unsent(claim: Json) -> Json | None:
    if claim.get("sent") != "0":
        return None
    return {
        "due": _text(_moment(claim["due"])),
        "claimed": _text(_moment(claim["at"])),
        "holder": claim["holder"],
    }


def _moment(value: str | None) -> datetime.datetime | None:
    return None if value is None else datetime.datetime.fromtimestamp(float(value), UTC)


def _text(moment: datetime.datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
