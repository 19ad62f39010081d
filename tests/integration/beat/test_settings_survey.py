# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reference application says about itself, with a real broker and database."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from beat_place import PASSWORD, Place
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import read
from ansible_collections.celeryops.platform.plugins.module_utils._celery.settings import check
from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import Pool, Snapshot

DEFAULTS = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())
QUEUES = DEFAULTS["celery_app_queues"]


def test_the_reference_application_tells_all(migrated: Place) -> None:
    found = migrated.ask("settings")
    assert found["conf"]["task_time_limit"] == 500
    assert found["conf"]["broker_transport_options"] == {
        "priority_steps": list(range(10)),
        "visibility_timeout": 600,
    }
    assert found["broker"] == {"driver": "redis"}
    assert found["queues"] == sorted(QUEUES)
    assert {"pattern": "apps.backups.tasks.*", "queue": "backups", "priority": 0} in found["routes"]
    tasks = {task["name"]: task for task in found["tasks"]}
    assert tasks["apps.backups.tasks.backup_database"]["queue"] == "backups"
    assert tasks["config.celery.debug_task"]["queue"] == "celery"
    assert tasks["config.celery.debug_task"]["acks_late"] is None
    assert found["unroutable"] == []
    assert found["redis"]["maxmemory_policy"] == "noeviction"
    assert found["redis"]["maxclients"] > 0
    assert found["database"]["max_connections"] == 100
    assert found["database"]["reserved"] == 3
    assert found["installed"]["celery"] == "5.6.3"
    assert PASSWORD not in str(found)


def test_declared_entries_are_part_of_it_before_they_are_written(migrated: Place) -> None:
    entries = read(DEFAULTS["celery_app_schedule"], DEFAULTS["celery_app_timezone"])
    told = migrated.ask("schedule", entries=entries, check=True)["survey"]["schedule"]
    assert {entry["name"] for entry in told} == {entry["name"] for entry in entries}
    migrated.ask("schedule", entries=entries)
    again = migrated.ask("settings")["schedule"]
    assert sorted(again, key=lambda one: one["name"]) == sorted(told, key=lambda one: one["name"])


def test_the_reference_application_keeps_the_contract(migrated: Place) -> None:
    survey = migrated.ask("settings")
    pool = Pool("default", queues=tuple(QUEUES), replicas=3, concurrency=4, task_limit=500)
    assert check(Snapshot(survey, (pool,))) == []
    fewer = Pool("default", queues=tuple(name for name in QUEUES if name != "reports"), replicas=3)
    assert [one.rule for one in check(Snapshot(survey, (fewer,)))] == ["queue-without-consumer"]


@pytest.mark.slow
def test_what_is_away_is_told_and_hides_nothing_else(migrated: Place, tmp_path: Path) -> None:
    migrated.extra = {"CELERY_BROKER_URL": "redis://127.0.0.1:1/0", "DATABASE_PORT": "1"}
    found = migrated.ask("settings")
    assert "ConnectionError" in found["redis"]["problem"] or "OperationalError" in found["redis"]["problem"]
    assert found["database"]["max_connections"] is None
    assert "OperationalError" in found["database"]["problem"]
    assert found["queues"] == sorted(QUEUES)


def test_functions_route_and_a_queue_nobody_declares(migrated: Place, tmp_path: Path) -> None:
    (tmp_path / "routing_settings.py").write_text(
        "from config.settings import *\n"
        "def by_name(name, args, kwargs, options, task=None, **_):\n"
        "    return {'queue': 'reports'} if name.startswith('apps.pricing') else None\n"
        "CELERY_TASK_ROUTES = [by_name, {'apps.core.*': {'queue': 'astray'}}]\n"
    )
    migrated.extra = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "routing_settings"}
    found = migrated.ask("settings")
    assert {task["queue"] for task in found["tasks"] if task["name"].startswith("apps.pricing")} == {"reports"}
    assert found["routes"] == [{"pattern": "apps.core.*", "queue": "astray", "priority": None}]
    assert {task["task"].rpartition(".")[0] for task in found["unroutable"]} == {
        "apps.core.alert_tasks",
        "apps.core.webhook_tasks",
    }
    assert "astray" in found["unroutable"][0]["problem"]
