# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The due time that an entry is sent for, and what passed before it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedule, solar

FILES = Path(__file__).resolve().parents[4] / "roles/celery_pod/files"
sys.path.insert(0, str(FILES))
due = importlib.import_module("celeryops_probe.due")


@pytest.fixture(autouse=True)
def app() -> Iterator[Celery]:
    with Celery("due", set_as_current=False) as found:
        found.conf.timezone = "Europe/Berlin"
        yield found


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def told(given: Any, since: str, now: str) -> tuple[str, int]:
    found, missed = due.due_time(given, at(since), at(now))
    return datetime.fromtimestamp(found, UTC).isoformat()[:19], missed


@pytest.mark.parametrize(
    ("fields", "since", "now", "expected"),
    [
        # Berlin is an hour ahead of UTC in winter, two in summer; in the night of the change there is no half past two.
        ({"minute": 0, "hour": 2}, "2026-01-10 01:00:01", "2026-01-11 01:00:02", ("2026-01-11T01:00:00", 0)),
        ({"minute": 0, "hour": 2}, "2026-07-10 00:00:01", "2026-07-13 07:00:00", ("2026-07-13T00:00:00", 2)),
        ({"minute": 30, "hour": 2}, "2026-03-28 02:00:00", "2026-03-29 01:30:00", ("2026-03-29T01:30:00", 0)),
        ({"minute": "*/5"}, "2026-01-10 00:03:01", "2026-01-10 00:05:00", ("2026-01-10T00:05:00", 0)),
        ({"minute": "*/5"}, "2026-01-10 00:03:01", "2026-01-10 00:15:09", ("2026-01-10T00:15:00", 2)),
        ({}, "2026-01-10 00:00:00", "2026-01-20 00:00:59", ("2026-01-20T00:00:00", due.MOST)),
        (
            {"minute": 0, "hour": 1, "day_of_month": 1},
            "2025-10-15 00:00:00",
            "2026-01-05 00:00:00",
            ("2026-01-01T00:00:00", 2),
        ),
        (
            {"minute": 0, "hour": 1, "day_of_month": 29, "month_of_year": 2},
            "2019-01-01 00:00:00",
            "2026-01-05 00:00:00",
            ("2024-02-29T00:00:00", 1),
        ),
    ],
)
def test_crontab(app: Celery, fields: dict[str, Any], since: str, now: str, expected: tuple[str, int]) -> None:
    assert told(crontab(**fields, app=app), since, now) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (60, ("2026-01-10T00:01:00", 0)),
        (119.9, ("2026-01-10T00:01:00", 0)),
        (120, ("2026-01-10T00:02:00", 1)),
        (3600, ("2026-01-10T01:00:00", 59)),
    ],
)
def test_interval(app: Celery, seconds: float, expected: tuple[str, int]) -> None:
    since = at("2026-01-10 00:00:00")
    found, missed = due.due_time(schedule(60, app=app), since, since + seconds)
    assert (datetime.fromtimestamp(found, UTC).isoformat()[:19], missed) == expected


def test_an_interval_that_celery_calls_due_early_is_due_now(app: Celery) -> None:
    """A relative interval of an hour comes with the full hour, however short ago the last run was."""
    given = schedule(timedelta(hours=1), relative=True, app=app)
    assert told(given, "2026-01-10 10:30:00", "2026-01-10 11:00:01") == ("2026-01-10T11:00:01", 0)


def test_sun(app: Celery) -> None:
    sunset = solar("sunset", 52.52, 13.41, app=app)
    first, missed = told(sunset, "2026-03-25 12:00:00", "2026-03-26 00:00:00")
    assert (first[:16], missed) == ("2026-03-25T17:28", 0)
    assert told(sunset, "2026-03-25 12:00:00", "2026-03-28 00:00:00")[1] == 2
    # The same event is the same due time, whenever it is looked at, and another one after it.
    assert told(sunset, "2026-03-24 20:00:00", "2026-03-25 23:59:59") == (first, 0)
    assert told(sunset, first.replace("T", " "), "2026-03-27 00:00:00")[0][:10] == "2026-03-26"


def test_clock() -> None:
    """Once; and once more where it is declared anew after its time."""
    clock = SimpleNamespace(clocked_time=datetime(2026, 1, 10, 12, tzinfo=UTC))
    assert told(clock, "2026-01-01 00:00:00", "2026-01-10 12:00:01") == ("2026-01-10T12:00:00", 0)
    assert told(clock, "2026-02-01 00:00:00", "2026-02-01 12:00:01") == ("2026-02-01T00:00:00", 0)


def test_a_schedule_of_ones_own_is_due_when_it_says_so(app: Celery) -> None:
    class Own(BaseSchedule):
        pass

    assert told(Own(app=app), "2026-01-10 12:00:00", "2026-01-10 12:00:05") == ("2026-01-10T12:00:05", 0)
