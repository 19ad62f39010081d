# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schedule in the rows of django-celery-beat, seen by a real beat, and served in the declared order."""

# The statements are made of names in this file.

from __future__ import annotations

import ast
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from beat_place import PASSWORD, PROJECT, Place, process
from helpers.modules import ROOT
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import ScheduleError, read
from ansible_collections.celeryops.platform.plugins.module_utils._beat.shipment import AppError

DEFAULTS = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())
REFERENCE = read(DEFAULTS["celery_app_schedule"], DEFAULTS["celery_app_timezone"])
RULE = DEFAULTS["celery_app_priority_function"]
DEBUG_TASK = "config.celery.debug_task"
FIELDS = "name, task, queue, priority, enabled, expire_seconds, description"


def entry(name: str = "a", **fields: Any) -> dict[str, Any]:
    """A canonical entry that runs every second, with the given changes."""
    given = {"cron", "crontab", "interval", "solar", "clocked"} & fields.keys()
    every = {} if given else {"interval": {"every": 1, "period": "seconds"}}
    (found,) = read([{"name": name, "task": DEBUG_TASK, **every, **fields}])
    return found


def rows(place: Place) -> list[tuple[Any, ...]]:
    return place.sql(f"SELECT {FIELDS} FROM django_celery_beat_periodictask ORDER BY id")


def last_change(place: Place) -> list[tuple[Any, ...]]:
    return place.sql("SELECT last_update FROM django_celery_beat_periodictasks")


def actions(result: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["action"] for one in result["changes"]}


@pytest.mark.slow
def test_check_apply_check_apply(migrated: Place) -> None:
    request = {"entries": REFERENCE, "queues": DEFAULTS["celery_app_queues"], "priority_function": RULE}
    told = migrated.ask("schedule", **request, check=True)
    assert told["changed"]
    assert set(actions(told).values()) == {"create"}
    assert rows(migrated) == []

    made = migrated.ask("schedule", **request)
    assert made["changed"]
    assert made["changes"] == told["changes"]
    assert made["warnings"] == []
    assert [(row[0], row[2]) for row in rows(migrated)] == [(one["name"], one["queue"]) for one in REFERENCE]
    # 10, the most urgent, is Redis's 0.
    assert {row[0]: row[3] for row in rows(migrated)} == {one["name"]: 10 - one["priority"] for one in REFERENCE}
    since = last_change(migrated)
    assert len(since) == 1

    for check in (True, False):
        again = migrated.ask("schedule", **request, check=check)
        assert not again["changed"]
        assert set(actions(again).values()) == {"unchanged"}
    assert last_change(migrated) == since


@pytest.mark.slow
def test_an_entry_changes_and_the_rest_of_its_row_stays(migrated: Place) -> None:
    table = "django_celery_beat_periodictask"
    migrated.ask("schedule", entries=[entry("a", queue="pricing"), entry("b"), entry("other")])
    migrated.sql(f"UPDATE {table} SET last_run_at = '2030-01-01', total_run_count = 5")
    migrated.sql(f"UPDATE {table} SET routing_key = 'astray' WHERE name = 'b'")
    since = last_change(migrated)
    declared = [
        entry("a", queue="reports", cron="*/5 2 * * mon", priority=3, args=[1], kwargs={"é": None}, expires=60),
        entry("b"),
    ]
    told = migrated.ask("schedule", entries=declared, check=True)
    assert last_change(migrated) == since
    made = migrated.ask("schedule", entries=declared)
    assert made["changes"] == told["changes"]
    assert actions(made) == {"a": "update", "b": "update"}
    first, second = made["changes"]
    assert first["fields"] == ["schedule", "queue", "priority", "args", "kwargs", "expire_seconds"]
    assert 'queue: "pricing"\n' in first["diff"]["before"]
    assert 'queue: "reports"\npriority: 7\nargs: [1]\nkwargs: {"é": null}\n' in first["diff"]["after"]
    assert (second["diff"]["before"], second["diff"]["after"]) == ('routing_key: "astray"\n', "routing_key: null\n")
    assert last_change(migrated) > since
    kept = migrated.sql(f"SELECT count(*) FROM {table} WHERE last_run_at = '2030-01-01' AND total_run_count = 5")
    assert kept == [(3,)]
    assert migrated.sql(f"SELECT interval_id IS NULL, crontab_id IS NULL FROM {table} WHERE name = 'a'") == [
        (True, False)
    ]
    assert not migrated.ask("schedule", entries=declared)["changed"]


def test_a_disabled_entry_forgets_its_last_run(migrated: Place) -> None:
    """So that enabling it again does not fire at once; the model does the same."""
    table = "django_celery_beat_periodictask"
    migrated.ask("schedule", entries=[entry()])
    migrated.sql(f"UPDATE {table} SET last_run_at = '2020-01-01'")
    migrated.ask("schedule", entries=[entry(enabled=False)])
    assert migrated.sql(f"SELECT enabled, last_run_at FROM {table}") == [(False, None)]
    assert not migrated.ask("schedule", entries=[entry(enabled=False)])["changed"]


def test_equal_schedules_share_a_row(migrated: Place) -> None:
    entries = [entry("a", cron="0 2 * * *"), entry("b", cron="0 2 * * *"), entry("c"), entry("d")]
    migrated.ask("schedule", entries=entries)
    assert migrated.sql("SELECT count(*) FROM django_celery_beat_crontabschedule") == [(1,)]
    assert migrated.sql("SELECT count(*) FROM django_celery_beat_intervalschedule") == [(1,)]


@pytest.mark.slow
def test_a_schedule_that_was_lost_is_given_again(migrated: Place) -> None:
    migrated.ask("schedule", entries=[entry(cron="0 2 * * *")])
    migrated.sql("DROP TABLE django_celery_beat_crontabschedule CASCADE")
    migrated.ask("migrations", apps=["django_celery_beat"])
    made = migrated.ask("schedule", entries=[entry(cron="0 2 * * *")])
    assert made["changes"][0]["fields"] == ["schedule"]
    assert not migrated.ask("schedule", entries=[entry(cron="0 2 * * *")])["changed"]


def test_two_at_once_through_the_transaction_pooler_do_it_once(migrated: Place, pooler_port: int) -> None:
    migrated.extra = {"DATABASE_PORT": str(pooler_port)}
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(migrated.ask, "schedule", entries=REFERENCE) for _ in range(2)]
        assert sorted(run.result()["changed"] for run in runs) == [False, True]
    assert len(rows(migrated)) == len(REFERENCE)


def test_without_tables_check_mode_tells_and_the_run_refuses(empty: Place) -> None:
    assert actions(empty.ask("schedule", entries=[entry()], check=True)) == {"a": "create"}
    with pytest.raises(AppError, match="Run beat_migrations first"):
        empty.ask("schedule", entries=[entry()])


@pytest.mark.parametrize("check", [True, False])
def test_everything_unknown_is_told_and_nothing_is_written(migrated: Place, check: bool) -> None:
    entries = [
        entry("good"),
        entry("a", task="config.celery.debug_tusk"),
        entry("b", queue="backup", task="nowhere.nothing"),
        entry("c", queue="backups"),
    ]
    with pytest.raises(ScheduleError) as caught:
        migrated.ask("schedule", entries=entries, queues=["celery", "unheard of"], check=check)
    assert [line.partition(": expected")[0] for line in caught.value.problems] == [
        "'a': task",
        "'b': task",
        "'b': queue",
        "'b': queue",
        "'c': queue",
    ]
    assert caught.value.problems[0].endswith(
        "found 'config.celery.debug_tusk'; did you mean 'config.celery.debug_task'?"
    )
    assert "task_queues (accounting, backups, celery" in caught.value.problems[2]
    assert rows(migrated) == []


@pytest.mark.slow
def test_a_priority_function_that_is_none_is_told(migrated: Place) -> None:
    for path in ("config.priorities:nothing", "config.nothing:f", "nonsense"):
        with pytest.raises(AppError, match="such as config"):
            migrated.ask("schedule", entries=[entry()], priority_function=path)


def test_without_ten_lists_the_broker_cannot_tell_priorities_apart(migrated: Place, tmp_path: Path) -> None:
    (tmp_path / "plain_settings.py").write_text(
        "from config.settings import *\ndel CELERY_BROKER_TRANSPORT_OPTIONS['priority_steps']\n"
    )
    migrated.extra = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "plain_settings"}
    entries = [entry(f"at {priority}", priority=priority) for priority in (10, 9, 8, 7, 1, 0)]
    (warning,) = migrated.ask("schedule", entries=entries)["warnings"]
    assert warning.startswith("declared priorities 10, 9, 8 share one list of the broker")


def celery(place: Place, log: Path, *arguments: str) -> Any:
    command = [sys.executable, "-m", "celery", "-A", "config", *arguments, "--loglevel=info"]
    output = log.open("w")
    return process(*command, cwd=PROJECT, env=place.environment, stdout=output, stderr=subprocess.STDOUT)


@pytest.mark.slow
def test_a_running_beat_picks_changes_up_and_tasks_run_in_the_declared_order(
    migrated: Place, redis_port: int, tmp_path: Path
) -> None:
    broker = redis.Redis(port=redis_port, password=PASSWORD)
    broker.flushall()
    # The least urgent first, so that the order of sending is not the one wanted.
    urgency = {"clean": 2, "report": 5, "price": 8, "tenant": 9, "backup": 10}
    migrated.ask("schedule", entries=[entry("idle", cron="0 0 1 1 *")])
    with celery(migrated, tmp_path / "beat.log", "beat", "--scheduler=django_celery_beat.schedulers:DatabaseScheduler",
                f"--pidfile={tmp_path / 'beat.pid'}"):  # fmt: skip
        wait_until(lambda: "beat: Starting" in (tmp_path / "beat.log").read_text(), "beat")
        migrated.ask(
            "schedule",
            entries=[
                entry(name, priority=priority, one_off=True, queue="backups") for name, priority in urgency.items()
            ],
            priority_function=RULE,
        )
        lists = [f"backups\x06\x16{step}" if step else "backups" for step in range(10)]
        wait_until(lambda: sum(broker.llen(key) for key in lists) == len(urgency), "beat's messages")
    log = tmp_path / "worker.log"
    with celery(migrated, log, "worker", "--pool=solo", "--queues=backups", "--without-gossip", "--without-mingle"):
        wait_until(lambda: log.read_text().count(" succeeded in ") == len(urgency), "the tasks")
    results = [ast.literal_eval(found) for found in re.findall(r" succeeded in [^:]+: (\{.*\})", log.read_text())]
    assert [result["periodic_task_name"] for result in results] == ["backup", "tenant", "price", "report", "clean"]
    assert [result["priority"] for result in results] == [0, 1, 2, 5, 8]
