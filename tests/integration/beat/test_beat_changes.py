# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No change to the schedule escapes a real beat that carries the files of role celery_pod."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from beat_place import PASSWORD, Place
from helpers.modules import ROOT
from helpers.servers import wait_until
from test_beat_schedule import celery, entry

TASKS = "django_celery_beat_periodictask"
CHANGES = "django_celery_beat_periodictasks"
DATABASE = "django_celery_beat.schedulers:DatabaseScheduler"
# Writes an entry between the first reading of the entries and the first look at the time of the newest change.
RACED = """\
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler

class Scheduler(DatabaseScheduler):
    def install_default_entries(self, data):
        assert "raced" not in data
        every, _made = IntervalSchedule.objects.get_or_create(every=1, period="seconds")
        PeriodicTask.objects.create(name="raced", task="config.celery.debug_task", interval=every, queue="pricing")
        super().install_default_entries(data)
        assert "raced" not in self.schedule
"""


@pytest.fixture
def place(migrated: Place, redis_port: int, tmp_path: Path) -> Iterator[Place]:
    """The application with the files of role celery_pod, and an empty broker."""
    state = tmp_path / "state"
    state.mkdir()
    files = ROOT / "roles/celery_pod/files"
    migrated.environment = {
        **migrated.environment,
        "PYTHONPATH": f"{files}{os.pathsep}{tmp_path}",
        "CELERYOPS_STATE_DIR": str(state),
    }
    with redis.Redis(port=redis_port, password=PASSWORD) as broker:
        broker.flushall()
    return migrated


def sent(log: Path, name: str) -> bool:
    return f"Sending due task {name} " in log.read_text()


def beat(place: Place, log: Path, scheduler: str = DATABASE) -> object:
    flags = [f"--scheduler={scheduler}", "--max-interval=1", f"--pidfile={log.parent / 'beat.pid'}"]
    return celery(place, log, "beat", *flags)


def test_an_entry_written_while_beat_starts_is_sent(place: Place, tmp_path: Path) -> None:
    (tmp_path / "raced.py").write_text(RACED)
    log = tmp_path / "beat.log"
    with beat(place, log, "raced:Scheduler"):
        wait_until(lambda: sent(log, "raced"), "the entry that was written while beat read the others")


@pytest.mark.slow
def test_the_first_change_of_all_is_seen(place: Place, tmp_path: Path) -> None:
    """Nothing was ever written: no result expires, so beat adds no entry of its own."""
    (tmp_path / "bare_settings.py").write_text("from config.settings import *\nCELERY_RESULT_EXPIRES = None\n")
    place.environment["DJANGO_SETTINGS_MODULE"] = "bare_settings"
    log = tmp_path / "beat.log"
    with beat(place, log):
        wait_until((tmp_path / "state/ready").exists, "a beat that ticks")
        assert place.sql(f"SELECT count(*) FROM {CHANGES}") == [(0,)]
        place.ask("schedule", entries=[entry("first", queue="pricing")])
        wait_until(lambda: sent(log, "first"), "the first entry")


@pytest.mark.slow
def test_a_change_by_a_clock_that_is_behind_is_seen(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "beat.log"
    place.ask("schedule", entries=[entry("here", queue="pricing")])
    with beat(place, log):
        wait_until(lambda: sent(log, "here"), "the entry that was there")
        before = log.read_text().count("Schedule changed")
        place.sql(f"UPDATE {CHANGES} SET last_update = now() + interval '1 hour'")
        wait_until(lambda: log.read_text().count("Schedule changed") > before, "the change by a clock that is ahead")
        place.ask("schedule", entries=[entry("behind", queue="pricing")])
        wait_until(lambda: sent(log, "behind"), "the entry that a clock behind wrote")


@pytest.mark.slow
def test_a_database_that_cannot_be_read_ends_no_beat(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "beat.log"
    place.ask("schedule", entries=[entry("here", queue="pricing")])
    with beat(place, log) as process:
        wait_until(lambda: sent(log, "here"), "the entry that was there")
        place.sql(f"ALTER TABLE {TASKS} RENAME TO away")
        place.sql(f"UPDATE {CHANGES} SET last_update = now() + interval '1 hour'")
        wait_until(lambda: "going on with those that were read before" in log.read_text(), "a failed reading")
        before = log.read_text().count("Sending due task here ")
        wait_until(lambda: log.read_text().count("Sending due task here ") > before, "a task sent from memory")
        place.sql(f"ALTER TABLE away RENAME TO {TASKS}")
        place.ask("schedule", entries=[entry("here", queue="pricing"), entry("back", queue="pricing")])
        wait_until(lambda: sent(log, "back"), "an entry that was written afterwards")
        assert process.poll() is None
