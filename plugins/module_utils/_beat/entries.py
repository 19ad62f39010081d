# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared schedule: read, checked as far as that needs no application, and made canonical."""

from __future__ import annotations

import datetime
import json
import zoneinfo
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import cron
from ansible_collections.celeryops.platform.plugins.module_utils._beat.priority import (
    LEAST_URGENT,
    MOST_URGENT,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["PERIODS", "ScheduleError", "read"]

PERIODS = ("days", "hours", "minutes", "seconds", "microseconds")
KINDS = ("cron", "crontab", "interval", "solar", "clocked")
EVENTS = (
    *("dawn_astronomical", "dawn_nautical", "dawn_civil", "sunrise", "solar_noon"),
    *("sunset", "dusk_civil", "dusk_nautical", "dusk_astronomical"),
)
NAME_LENGTH = 200
TIME = "a time with its offset, such as 2030-01-31T12:00:00+00:00"
# The database's integers
LARGEST = 2**31 - 1

Json = dict[str, Any]


class ScheduleError(CeleryOpsError):
    """Everything that is wrong with a declared schedule, one line each in ``problems``."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        noun = "problem" if len(self.problems) == 1 else "problems"
        super().__init__(
            f"The schedule has {len(self.problems)} {noun}; nothing was written.\n- " + "\n- ".join(self.problems),
            problems=self.problems,
        )


def read(entries: Sequence[Any], timezone: str | None = None) -> list[Json]:
    """Canonical entries; raises :class:`ScheduleError` with every problem of every entry.

    A canonical entry has all keys: name, task, schedule (``{"crontab": {five fields and timezone}}``,
    ``{"interval": {"every", "period"}}``, ``{"solar": {"event", "latitude", "longitude"}}`` in degrees with six
    decimals as text, or ``{"clocked": {"clocked_time"}}`` in ISO 8601), queue, priority (as declared), args, kwargs,
    enabled, one_off, start_time and expires (ISO 8601), expire_seconds, description. ``timezone`` is for crontabs that
    name none; None leaves it to the application.
    """
    problems: list[str] = []
    canonical = []
    names: Counter[str] = Counter()
    for number, entry in enumerate(entries, 1):
        reader = _Reader(number, entry, timezone)
        canonical.append(reader.read())
        problems += reader.problems
        if isinstance(entry, Mapping) and isinstance(entry.get("name"), str):
            names[entry["name"]] += 1
    problems += [
        f"{name!r}: expected one entry of this name, found {count}; rename or remove the others"
        for name, count in names.items()
        if count > 1
    ]
    if problems:
        raise ScheduleError(problems)
    return canonical


class _Reader:
    """Reads one entry and notes each problem with it."""

    def __init__(self, number: int, entry: Any, timezone: str | None) -> None:
        self.problems: list[str] = []
        self.timezone = timezone
        self.label = f"entry {number}"
        self.entry: Mapping[str, Any] = {}
        if not isinstance(entry, Mapping):
            self.bad("the entry", "a mapping with name, task and a schedule", entry)
            return
        self.entry = entry
        if isinstance(entry.get("name"), str) and entry["name"]:
            self.label = repr(entry["name"])

    def bad(self, what: str, expected: str, found: Any, remedy: str = "") -> None:
        text = f"{self.label}: {what}: expected {expected}, found {_shown(found)}"
        self.problems.append(f"{text}; {remedy}" if remedy else text)

    def read(self) -> Json:
        if not self.entry:
            if not self.problems:
                self.bad("the entry", "name, task and a schedule", {})
            return {}
        known = {*_FIELDS, *KINDS, "name", "task"}
        for key in self.entry:
            if key not in known:
                self.bad(f"field {key!r}", f"one of {', '.join(sorted(known))}", key)
        result: Json = {key: self.name(key) for key in ("name", "task")}
        result["schedule"] = self.schedule()
        for key, (default, expected, right) in _FIELDS.items():
            value = self.entry.get(key)
            if value is None:
                value = default
            elif not right(value):
                self.bad(key, expected, value)
            result[key] = value
        result["expires"], result["expire_seconds"] = self.moment("expires"), None
        if isinstance(result["expires"], int):
            result["expires"], result["expire_seconds"] = None, result["expires"]
        result["start_time"] = self.moment("start_time")
        if "clocked" in result["schedule"]:
            if self.entry.get("one_off") is False:
                self.bad("one_off", "true or nothing", False, "a time of the clock comes once")
            result["one_off"] = True
        return result

    def name(self, key: str) -> str:
        value = self.entry.get(key)
        if not isinstance(value, str) or not value.strip() or len(value) > NAME_LENGTH:
            self.bad(key, f"1 to {NAME_LENGTH} characters", value)
            return ""
        return value

    def moment(self, key: str) -> Any:
        """Seconds as they are; a time of day in UTC, so that equal times are equal texts."""
        value = self.entry.get(key)
        if not isinstance(value, str):
            return value
        try:
            return datetime.datetime.fromisoformat(value).astimezone(datetime.UTC).isoformat()
        except ValueError:
            return value  # refused by its field's check

    def schedule(self) -> Json:
        given = [kind for kind in KINDS if self.entry.get(kind) is not None]
        if len(given) != 1:
            self.bad(
                "schedule",
                f"exactly one of {', '.join(KINDS)}",
                ", ".join(given) or "none",
                "keep the one that is meant",
            )
            return {}
        if given == ["interval"]:
            return self.interval(self.entry["interval"])
        if given == ["solar"]:
            return self.solar(self.entry["solar"])
        if given == ["clocked"]:
            if not _time(self.entry["clocked"]):
                self.bad("clocked", TIME, self.entry["clocked"])
            return {"clocked": {"clocked_time": self.moment("clocked")}}
        return self.crontab(given[0], self.entry[given[0]])

    def interval(self, value: Any) -> Json:
        if not isinstance(value, Mapping) or set(value) != {"every", "period"}:
            self.bad("interval", "every and period, such as {every: 5, period: minutes}", value)
            return {}
        if not _integer(1, LARGEST)(value["every"]):
            self.bad("interval.every", "a whole number of at least 1", value["every"])
        if value["period"] not in PERIODS:
            self.bad("interval.period", f"one of {', '.join(PERIODS)}", value["period"])
        return {"interval": {"every": value["every"], "period": value["period"]}}

    def solar(self, value: Any) -> Json:
        if not isinstance(value, Mapping) or set(value) != {"event", "lat", "lon"}:
            self.bad("solar", "event, lat and lon, such as {event: sunset, lat: 52.52, lon: 13.41}", value)
            return {}
        if value["event"] not in EVENTS:
            self.bad("solar.event", f"one of {', '.join(EVENTS)}", value["event"])
        found = {"event": value["event"]}
        for key, name, most in (("lat", "latitude", 90), ("lon", "longitude", 180)):
            if not _kind(int, float)(value[key]) or isinstance(value[key], bool) or not -most <= value[key] <= most:
                self.bad(f"solar.{key}", f"degrees from -{most} to {most}, north and east positive", value[key])
            else:
                # As the database holds them
                found[name] = f"{value[key]:.6f}"
        return {"solar": found}

    def crontab(self, kind: str, value: Any) -> Json:
        fields = self.fields(kind, value)
        sets = {}
        for name in cron.FIELDS:
            given = fields.get(name, "*")
            text = str(given).strip() if isinstance(given, str) or _integer(0, 59)(given) else None
            if text is None:
                self.bad(f"{kind}.{name}", "a cron field in quotes, or a whole number", given)
                continue
            fields[name] = text
            try:
                sets[name] = cron.expand(name, text)
            except ValueError as problem:
                self.bad(f"{kind}.{name}", "a cron field that Celery can read", text, str(problem))
        if {"day_of_month", "month_of_year"} <= sets.keys() and cron.never_due(
            sets["day_of_month"], sets["month_of_year"]
        ):
            self.bad(kind, "a day that exists", f"day {fields['day_of_month']} in month {fields['month_of_year']}")
        zone = fields.get("timezone", self.timezone)
        if zone is not None and zone not in zoneinfo.available_timezones():
            self.bad(f"{kind}.timezone", "a name of the time zone database, such as UTC or Europe/Berlin", zone)
        return {"crontab": {**{name: fields.get(name) for name in cron.FIELDS}, "timezone": zone}}

    def fields(self, kind: str, value: Any) -> Json:
        if kind == "cron":
            if not isinstance(value, str):
                self.bad("cron", "a line in quotes, such as '0 2 * * *'", value)
                return {}
            try:
                return dict(cron.split(value))
            except ValueError as problem:
                self.bad("cron", "five fields, such as '0 2 * * *'", value, str(problem))
                return {}
        known = {*cron.FIELDS, "timezone"}
        if not isinstance(value, Mapping) or not set(value) <= known:
            self.bad("crontab", f"a mapping of {', '.join([*cron.FIELDS, 'timezone'])}", value)
            return {}
        if value.get("minute") is None:
            self.bad("crontab.minute", "a value", "none", "without it the task runs every minute: write '*' if so")
        return {name: given for name, given in value.items() if given is not None}


def _integer(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _text(length: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and 0 < len(value) <= length


def _kind(*types: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, types)


def _time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 100 else f"{text[:97]}..."


# Field: what it is when it is not declared, what it should be, and whether a value is that.
_FIELDS: dict[str, tuple[Any, str, Callable[[Any], bool]]] = {
    "queue": (None, "the name of a queue", _text(NAME_LENGTH)),
    "priority": (
        None,
        f"a whole number from {LEAST_URGENT} to {MOST_URGENT}, {MOST_URGENT} the most urgent",
        _integer(LEAST_URGENT, MOST_URGENT),
    ),
    "args": ([], "a list", _kind(list)),
    "kwargs": ({}, "a mapping", _kind(dict)),
    "enabled": (True, "true or false", _kind(bool)),
    "one_off": (False, "true or false", _kind(bool)),
    "description": ("", "text", _kind(str)),
    "expires": (
        None,
        "seconds after which a message is void, or a time with its offset such as 2030-01-31T12:00:00+00:00",
        lambda value: _integer(1, LARGEST)(value) or _time(value),
    ),
    "start_time": (None, TIME, _time),
}
