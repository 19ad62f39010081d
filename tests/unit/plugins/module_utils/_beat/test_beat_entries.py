# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The declared schedule: what is made canonical, and that every problem of every entry is told at once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from celery.schedules import solar
from helpers.modules import ROOT
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import (
    EVENTS,
    ScheduleError,
    read,
)

GOOD: dict[str, Any] = {"name": "a", "task": "t", "cron": "0 2 * * *"}


def problems(*entries: Any, timezone: str | None = None) -> list[str]:
    with pytest.raises(ScheduleError) as caught:
        read(entries, timezone)
    return caught.value.problems


def test_an_entry_gets_every_field() -> None:
    assert read([GOOD]) == [
        {
            "name": "a",
            "task": "t",
            "schedule": {
                "crontab": {
                    "minute": "0",
                    "hour": "2",
                    "day_of_month": "*",
                    "month_of_year": "*",
                    "day_of_week": "*",
                    "timezone": None,
                }
            },
            "queue": None,
            "priority": None,
            "args": [],
            "kwargs": {},
            "enabled": True,
            "one_off": False,
            "description": "",
            "expires": None,
            "expire_seconds": None,
            "start_time": None,
        }
    ]


def test_a_line_and_a_mapping_are_the_same() -> None:
    mapping = {"name": "a", "task": "t", "crontab": {"minute": 0, "hour": " 2 ", "timezone": "Europe/Berlin"}}
    assert read([mapping]) == read([GOOD], "Europe/Berlin")


def test_an_interval_is_kept() -> None:
    entry = {"name": "a", "task": "t", "interval": {"every": 5, "period": "minutes"}}
    assert read([entry])[0]["schedule"] == {"interval": {"every": 5, "period": "minutes"}}


def test_solar_is_kept_as_the_database_holds_it() -> None:
    entry = {"name": "a", "task": "t", "solar": {"event": "sunset", "lat": 52.52, "lon": -13}}
    (found,) = read([entry])
    assert found["schedule"] == {"solar": {"event": "sunset", "latitude": "52.520000", "longitude": "-13.000000"}}
    assert found["one_off"] is False


def test_solar_events_are_those_of_celery() -> None:
    assert set(EVENTS) == solar._all_events


def test_clocked_is_a_moment_and_comes_once() -> None:
    (found,) = read([{"name": "a", "task": "t", "clocked": "2030-01-31T12:00:00+01:00"}])
    assert found["schedule"] == {"clocked": {"clocked_time": "2030-01-31T11:00:00+00:00"}}
    assert found["one_off"] is True


SUNSET = {"event": "sunset", "lat": 52, "lon": 13}


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ({"solar": {**SUNSET, "event": "moonrise"}}, "solar.event: expected one of dawn_astronomical"),
        ({"solar": {**SUNSET, "lat": 91}}, "solar.lat: expected degrees from -90 to 90"),
        ({"solar": {**SUNSET, "lon": "east"}}, "solar.lon: expected degrees from -180 to 180"),
        ({"solar": {**SUNSET, "lon": True}}, "solar.lon"),
        ({"solar": {"event": "sunset"}}, "solar: expected event, lat and lon"),
        ({"solar": "sunset"}, "solar: expected event, lat and lon"),
        ({"clocked": "2030-01-31T12:00:00"}, "clocked: expected a time with its offset"),
        ({"clocked": 5}, "clocked: expected a time with its offset"),
        ({"clocked": "2030-01-31T12:00:00+00:00", "one_off": False}, "a time of the clock comes once"),
    ],
)
def test_what_is_wrong_with_solar_and_clocked(schedule: dict[str, Any], told: str) -> None:
    (found,) = problems({"name": "a", "task": "t", **schedule})
    assert told in found


def test_expires_is_seconds_or_a_time() -> None:
    seconds, moment = read([{**GOOD, "expires": 60}, {**GOOD, "name": "b", "expires": "2030-01-31T12:00:00+02:00"}])
    assert (seconds["expire_seconds"], seconds["expires"]) == (60, None)
    assert (moment["expire_seconds"], moment["expires"]) == (None, "2030-01-31T10:00:00+00:00")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"priority": 11}, "priority: expected a whole number from 0 to 10, 10 the most urgent, found 11"),
        ({"priority": -1}, "priority: expected"),
        ({"priority": "8"}, 'found "8"'),
        ({"priority": True}, "found true"),
        ({"priority": 8.0}, "found 8.0"),
        ({"queue": ""}, "queue: expected the name of a queue"),
        ({"args": {}}, "args: expected a list"),
        ({"kwargs": []}, "kwargs: expected a mapping"),
        ({"enabled": "yes"}, "enabled: expected true or false"),
        ({"expires": 0}, "expires: expected seconds"),
        ({"expires": "2030-01-31T12:00:00"}, "a time with its offset"),
        ({"start_time": "soon"}, "start_time: expected a time"),
        ({"name": ""}, "name: expected 1 to 200 characters"),
        ({"name": "x" * 201}, "name: expected 1 to 200 characters"),
        ({"task": None}, "task: expected 1 to 200 characters, found null"),
        (
            {"interval": {"every": 1, "period": "days"}},
            'exactly one of cron, crontab, interval, solar, clocked, found "cron, interval"',
        ),
        ({"cron": None}, 'exactly one of cron, crontab, interval, solar, clocked, found "none"'),
        ({"cron": 5}, "cron: expected a line in quotes"),
        ({"cron": "0 2 * *"}, "4 fields instead of 5"),
        ({"cron": "61 2 * * *"}, 'cron.minute: expected a cron field that Celery can read, found "61"'),
        ({"cron": "0 0 31 2 *"}, "a day that exists"),
        ({"cron": None, "crontab": {"hour": 2}}, "crontab.minute: expected a value"),
        ({"cron": None, "crontab": {"minute": 0, "hours": 2}}, "crontab: expected a mapping of"),
        ({"cron": None, "crontab": {"minute": [0]}}, "crontab.minute: expected a cron field in quotes"),
        ({"cron": None, "crontab": {"minute": 0, "timezone": "Mars"}}, "crontab.timezone"),
        ({"cron": None, "interval": {"every": 0, "period": "days"}}, "interval.every"),
        ({"cron": None, "interval": {"every": 1, "period": "minute"}}, "one of days, hours, minutes"),
        ({"cron": None, "interval": 5}, "such as {every: 5, period: minutes}"),
        ({"prio": 5}, "field 'prio'"),
    ],
)
def test_one_thing_wrong_is_one_problem(change: dict[str, Any], told: str) -> None:
    found = problems({**GOOD, **change})
    assert len(found) == 1
    assert told in found[0]


def test_every_problem_of_every_entry_is_told() -> None:
    found = problems(
        {**GOOD, "priority": 99, "queue": 7},
        {**GOOD, "name": "b", "cron": "a b c d e"},
        "no mapping",
        {},
        GOOD,
        timezone="UTC",
    )
    assert [line.split(":")[0] for line in found] == [*["'a'"] * 2, *["'b'"] * 5, "entry 3", "entry 4", "'a'"]
    assert found[-1] == "'a': expected one entry of this name, found 2; rename or remove the others"


def test_a_bad_time_zone_of_all_is_told() -> None:
    assert 'found "Mars"' in problems(GOOD, timezone="Mars")[0]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=3))
def test_no_value_of_any_field_is_an_accident(value: Any) -> None:
    for key in ("name", "task", "cron", "crontab", "interval", "queue", "priority", "args", "kwargs", "enabled",
                "one_off", "expires", "start_time", "description"):  # fmt: skip
        try:
            read([{**GOOD, key: value}, value])
        except ScheduleError as error:
            assert error.problems


def test_the_reference_schedule_is_right() -> None:
    defaults = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())
    entries = read(defaults["celery_app_schedule"], defaults["celery_app_timezone"])
    assert len(entries) == 22
    assert {entry["queue"] for entry in entries} <= set(defaults["celery_app_queues"])
