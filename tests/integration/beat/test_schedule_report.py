# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What beat_schedule tells of each entry beside what it makes of it: from rows, and from what a real beat noted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from beat_place import PASSWORD, Place
from helpers.modules import ROOT
from helpers.servers import free_port, wait_until
from test_beat_schedule import celery, entry

TASKS = "django_celery_beat_periodictask"
CLAIM = "celeryops:beat:config:claim:"
CYCLE = (True, False, True, False)


@pytest.fixture
def broker(redis_port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_port, password=PASSWORD, decode_responses=True) as client:
        client.flushall()
        yield client


def told(place: Place, entries: list[dict[str, Any]], **request: Any) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in place.ask("schedule", entries=entries, **request)["schedule"]}


@pytest.mark.slow
def test_check_mode_tells_what_the_run_tells(migrated: Place, broker: redis.Redis) -> None:
    migrated.ask("schedule", entries=[entry("old"), entry("off"), entry("gone")])
    migrated.sql(f"UPDATE {TASKS} SET last_run_at = '2030-01-01T00:00:00Z', total_run_count = 5")
    declared = [
        entry("daily", cron="0 2 * * *"),
        entry("old", cron="0 2 * * *"),
        entry("off", enabled=False),
        entry("clock", clocked="2099-01-31T12:00:00+01:00"),
        entry("sun", solar={"event": "sunset", "lat": 52.52, "lon": 13.41}),
        entry("later", start_time="2098-01-01T00:30:00+00:00", cron="0 2 * * *"),
        entry("expired", expires="2020-01-01T00:00:00+00:00"),
    ]
    first, second, third, fourth = (told(migrated, declared, prune=True, check=check) for check in CYCLE)
    # What has no last run yet counts from now, or from when it was written.
    assert set(first) == {"daily", "old", "off", "clock", "sun", "later", "expired"}
    for one in (second, third, fourth):
        assert one == {**first, "daily": one["daily"], "sun": one["sun"]}
        assert {name: {**row, "next_run": None} for name, row in one.items()} == {
            name: {**row, "next_run": None} for name, row in first.items()
        }
    assert first["old"]["last_run"] == "2030-01-01T00:00:00+00:00"
    assert (first["old"]["next_run"], first["old"]["runs"]) == ("2030-01-01T02:00:00+00:00", 5)
    assert (first["off"]["ignored"], first["off"]["last_run"]) == ("disabled", None)
    assert first["clock"]["next_run"] == "2099-01-31T11:00:00+00:00"
    assert first["later"]["next_run"] == "2098-01-01T02:00:00+00:00"
    assert first["expired"]["ignored"] == "expired at 2020-01-01T00:00:00+00:00"
    assert first["expired"]["next_run"] is None
    now = datetime.now(UTC)
    assert first["daily"]["next_run"].endswith("T02:00:00+00:00")
    for name in ("daily", "sun"):
        assert 0 < (datetime.fromisoformat(first[name]["next_run"]) - now).total_seconds() <= 86400 + 180
        assert first[name]["ignored"] is None
    assert {one["missed"] for one in first.values()} == {None}


def test_what_others_declared_and_what_is_broken_is_told_too(migrated: Place, broker: redis.Redis) -> None:
    migrated.ask("schedule", entries=[entry("lost"), entry("foreign"), entry("never"), entry("mine")])
    migrated.sql(f"UPDATE {TASKS} SET interval_id = NULL WHERE name = 'lost'")
    migrated.sql(f"UPDATE {TASKS} SET task = 'nowhere.nothing' WHERE name = 'foreign'")
    fields = "minute, hour, day_of_month, month_of_year, day_of_week, timezone"
    migrated.sql(f"INSERT INTO django_celery_beat_crontabschedule ({fields}) VALUES ('0', '0', '31', '2', '*', 'UTC')")
    migrated.sql(f"UPDATE {TASKS} SET interval_id = NULL, crontab_id = (SELECT max(id) FROM "
                 "django_celery_beat_crontabschedule) WHERE name = 'never'")  # fmt: skip
    found = told(migrated, [entry("mine")], check=True)
    assert {name: one["declared"] for name, one in found.items()} == {
        "foreign": False,
        "lost": False,
        "mine": True,
        "never": False,
    }
    assert found["lost"]["ignored"] == "no schedule: beat ends at it when it starts"
    assert found["foreign"]["ignored"] == "the application has no task 'nowhere.nothing': workers refuse it"
    assert found["never"]["ignored"].startswith("never due, and beat ends at it: ")
    assert found["mine"]["ignored"] is None


def test_without_tables_there_is_only_what_would_be_made(empty: Place, broker: redis.Redis) -> None:
    found = told(empty, [entry("a")], check=True)
    assert (found["a"]["last_run"], found["a"]["runs"], found["a"]["declared"]) == (None, 0, True)


@pytest.mark.slow
def test_what_a_beat_noted_is_told(migrated: Place, broker: redis.Redis, tmp_path: Path) -> None:
    """It is killed before it writes its rows; what it sent is known all the same, and so is what was missed."""
    declared = [entry("often", queue="pricing"), entry("once", one_off=True, queue="pricing")]
    migrated.ask("schedule", entries=declared)
    migrated.sql(f"UPDATE {TASKS} SET last_run_at = now() - interval '10 seconds' WHERE name = 'often'")
    (tmp_path / "state").mkdir()
    files = {"PYTHONPATH": str(ROOT / "roles/celery_pod/files"), "CELERYOPS_STATE_DIR": str(tmp_path / "state")}
    before, migrated.environment = migrated.environment, {**migrated.environment, **files}
    log = tmp_path / "beat.log"
    with celery(migrated, log, "beat", "--scheduler=django_celery_beat.schedulers:DatabaseScheduler",
                f"--pidfile={tmp_path / 'beat.pid'}") as beat:  # fmt: skip
        wait_until(lambda: log.read_text().count("Sending due task often ") > 2, "tasks")
        wait_until(lambda: "Sending due task once " in log.read_text(), "the task that comes once")
        beat.send_signal(signal.SIGKILL)
        beat.wait()
    migrated.environment = before
    broker.hset(f"{CLAIM}once", mapping={"sent": "0", "holder": "celery-beat-x_1"})
    found = told(migrated, declared)
    often, once = found["often"], found["once"]
    noted = datetime.fromtimestamp(float(broker.hget(f"{CLAIM}often", "at") or 0), UTC)
    assert often["last_run"] == noted.isoformat(timespec="seconds")
    assert migrated.sql(f"SELECT last_run_at < '{noted.isoformat()}' FROM {TASKS} WHERE name = 'often'") == [(True,)]
    assert often["missed"] >= 8
    assert often["missed_at"] is not None
    assert (often["unsent"], often["ignored"]) == (None, None)
    assert once["unsent"]["holder"] == "celery-beat-x_1"
    assert once["unsent"]["due"] <= once["unsent"]["claimed"]


@pytest.mark.slow
def test_a_broker_that_does_not_answer_is_a_warning(migrated: Place) -> None:
    migrated.extra = {"CELERY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0"}
    answer = migrated.ask("schedule", entries=[entry("a")])
    assert answer["changed"]
    (warning,) = answer["warnings"]
    assert warning.startswith("What beat has missed cannot be told")
    assert answer["schedule"][0]["missed"] is None
