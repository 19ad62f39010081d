# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Solar and clocked entries, entries that are switched off, and entries that are pruned; with a real beat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis
from beat_place import PASSWORD, Place
from helpers.servers import wait_until
from test_beat_schedule import actions, celery, entry, last_change

from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import ScheduleError

TASKS = "django_celery_beat_periodictask"
CLEANUP = "celery.backend_cleanup"
CYCLE = (True, False, True, False)
SUNSET = {"event": "sunset", "lat": 52.52, "lon": 13.41}
LATER = "2099-01-31T12:00:00+01:00"


def names(place: Place) -> list[str]:
    return [name for (name,) in place.sql(f"SELECT name FROM {TASKS} ORDER BY name")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fields", "table", "row"),
    [
        ({"solar": SUNSET}, "solarschedule", "sunset 52.520000 13.410000"),
        ({"clocked": LATER}, "clockedschedule", "2099-01-31 11:00:00"),
    ],
)
def test_cycle(migrated: Place, fields: dict[str, Any], table: str, row: str) -> None:
    entries = [entry("a", **fields), entry("b", **fields)]
    results = [migrated.ask("schedule", entries=entries, check=check) for check in CYCLE]
    assert [one["changed"] for one in results] == [True, True, False, False]
    assert results[0]["changes"] == results[1]["changes"]
    column = "event || ' ' || latitude || ' ' || longitude" if "solar" in fields else "clocked_time::timestamp::text"
    with migrated.connect() as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        found = connection.execute(f"SELECT {column} FROM django_celery_beat_{table}").fetchall()
    assert found == [(row,)]


@pytest.mark.slow
def test_an_entry_goes_from_kind_to_kind(migrated: Place) -> None:
    kinds: list[dict[str, Any]] = [{"cron": "0 2 * * *"}, {"solar": SUNSET}, {"clocked": LATER}, {}]
    for fields in kinds:
        migrated.ask("schedule", entries=[entry(**fields)])
        assert not migrated.ask("schedule", entries=[entry(**fields)])["changed"]
    columns = ", ".join(f"{kind}_id IS NULL" for kind in ("crontab", "solar", "clocked", "interval"))
    assert migrated.sql(f"SELECT {columns} FROM {TASKS}") == [(True, True, True, False)]


def test_solar_without_its_library_is_refused(migrated: Place, tmp_path: Path) -> None:
    (tmp_path / "poor_settings.py").write_text(
        "import sys\nfrom config.settings import *\nsys.modules['ephem'] = None\n"
    )
    migrated.extra = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "poor_settings"}
    with pytest.raises(ScheduleError, match="expected the library ephem"):
        migrated.ask("schedule", entries=[entry(solar=SUNSET)])
    assert migrated.ask("schedule", entries=[entry()])["changed"]


@pytest.mark.slow
def test_pruning(migrated: Place) -> None:
    migrated.ask("schedule", entries=[entry(name) for name in ("kept", "old", "older", CLEANUP)])
    since = last_change(migrated)
    results = [migrated.ask("schedule", entries=[entry("kept")], prune=True, check=check) for check in CYCLE]
    assert [one["changed"] for one in results] == [True, True, False, False]
    assert actions(results[0]) == actions(results[1]) == {"kept": "unchanged", "old": "delete", "older": "delete"}
    assert "old" not in str(results[0]["survey"]["schedule"])
    assert names(migrated) == [CLEANUP, "kept"]
    assert last_change(migrated) > since
    assert not migrated.ask("schedule", entries=[entry("kept")])["changed"]


def test_pruning_with_nothing_declared_leaves_celerys_own(migrated: Place) -> None:
    migrated.ask("schedule", entries=[entry("old"), entry(CLEANUP)])
    migrated.ask("schedule", entries=[], prune=True)
    assert names(migrated) == [CLEANUP]


@pytest.mark.slow
def test_a_running_beat_fires_the_clock_once_and_plays_do_not_repeat_it(
    migrated: Place, redis_port: int, tmp_path: Path
) -> None:
    broker = redis.Redis(port=redis_port, password=PASSWORD)
    broker.flushall()
    past = entry("sale", clocked="2020-01-31T12:00:00+00:00", queue="pricing")
    off = entry("off", queue="pricing", enabled=False)
    dusk = entry("dusk", solar=SUNSET, queue="pricing")
    migrated.ask("schedule", entries=[past, off, dusk])
    log = tmp_path / "beat.log"
    with celery(migrated, log, "beat", "--scheduler=django_celery_beat.schedulers:DatabaseScheduler",
                "--max-interval=1", f"--pidfile={tmp_path / 'beat.pid'}"):  # fmt: skip
        lists = {
            queue: [queue, *(f"{queue}\x06\x16{step}" for step in range(1, 10))] for queue in ("pricing", "celery")
        }

        def sent(queue: str) -> int:
            return sum(broker.llen(key) for key in lists[queue])

        wait_until(lambda: sent("pricing") == 1, "beat to send what is due")
        # A change has beat read its table anew, and that is when it switches off what came once.
        declared = [past, off, dusk, entry("probe", one_off=True, queue="celery")]
        migrated.ask("schedule", entries=declared)
        spent = f"SELECT count(*) FROM {TASKS} WHERE name = 'sale' AND NOT enabled"
        wait_until(lambda: migrated.sql(spent) == [(1,)], "beat to switch off what came once")
        wait_until(lambda: sent("celery") == 1, "beat to send the new entry")
        assert not migrated.ask("schedule", entries=declared)["changed"]
    assert sent("pricing") == 1
    assert log.read_text().count("Sending due task sale") == 1
