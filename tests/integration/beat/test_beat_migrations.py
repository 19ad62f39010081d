# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations, their tables, and what is done when they are gone: against a real PostgreSQL."""

# The statements are made of names in this file.

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from beat_place import PASSWORD, Place

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import database
from ansible_collections.celeryops.platform.plugins.module_utils._beat.shipment import AppError

BEAT = "django_celery_beat"
BEAT_TABLES = {
    f"{BEAT}_{name}"
    for name in (
        "clockedschedule",
        "crontabschedule",
        "intervalschedule",
        "periodictask",
        "periodictasks",
        "solarschedule",
    )
}

EXTRA_MODELS = """
from django.db import models

class Gem(models.Model):
    name = models.TextField()
    pairs = models.ManyToManyField("self")

class Ring(models.Model):
    gem = models.ForeignKey(Gem, null=True, on_delete=models.SET_NULL)
"""
EXTRA_FIRST = """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.CreateModel("Gem", [
            ("id", models.BigAutoField(primary_key=True)),
            ("name", models.TextField()),
            ("pairs", models.ManyToManyField("self")),
        ]),
    ]
"""
EXTRA_SECOND = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("extra", "0001_initial")]
    operations = [
        migrations.CreateModel("Ring", [
            ("id", models.BigAutoField(primary_key=True)),
            ("gem", models.ForeignKey("extra.gem", null=True, on_delete=models.SET_NULL)),
        ]),
        %s
    ]
"""
FAILING = 'migrations.RunSQL("INSERT INTO no_such_table SELECT 1"),'


@pytest.fixture
def extra(empty: Place, tmp_path: Path) -> Callable[[str], Place]:
    """The application with one more app, of which the second migration holds the given operation."""
    app = tmp_path / "extra"
    (app / "migrations").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "migrations/__init__.py").touch()
    (app / "models.py").write_text(EXTRA_MODELS)
    (app / "migrations/0001_initial.py").write_text(EXTRA_FIRST)
    (tmp_path / "extra_settings.py").write_text("from config.settings import *\nINSTALLED_APPS += ['extra']\n")
    empty.extra = {
        "PYTHONPATH": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "extra_settings",
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def make(operation: str) -> Place:
        (app / "migrations/0002_ring.py").write_text(EXTRA_SECOND % operation)
        return empty

    return make


def drop(place: Place, *tables: str) -> None:
    for table in tables:
        place.sql(f'DROP TABLE "{table}" CASCADE')


def test_check_apply_check_apply(empty: Place) -> None:
    wanted = empty.ask("migrations", apps=[BEAT], check=True)
    assert wanted["changed"]
    assert wanted["applied"] == []
    assert empty.tables() == set()

    made = empty.ask("migrations", apps=[BEAT])
    assert made["changed"]
    assert made["applied"] == made["pending"] == wanted["pending"]
    assert set(made["recorded"]) == set(made["applied"])
    assert made["recorded"] == sorted(made["recorded"])
    assert len(made["applied"]) >= 20
    assert all(line.startswith(f"applied {BEAT}.") for line in made["lines"])
    assert made["tables"]["tables"] == len(BEAT_TABLES)
    assert made["database"]["alias"] == "direct"
    assert empty.tables() == {*BEAT_TABLES, "django_migrations"}

    for check in (True, False):
        again = empty.ask("migrations", apps=[BEAT], check=check)
        assert not again["changed"]
        assert (again["pending"], again["applied"], again["lines"]) == ([], [], [])
        assert again["recorded"] == made["recorded"]


def test_all_is_every_app_with_migrations(empty: Place) -> None:
    made = empty.ask("migrations", apps=["all"])
    apps = {name.partition(".")[0] for name in made["applied"]}
    assert {BEAT, "core", "pricing", "accounting"} <= apps
    assert empty.sql("SELECT count(*) FROM core_tenant") == [(1,)]
    assert not empty.ask("migrations", apps=["all"])["changed"]


@pytest.mark.slow
def test_dropped_tables_come_back(migrated: Place) -> None:
    drop(migrated, *BEAT_TABLES)
    told = migrated.ask("migrations", apps=["all"], check=True)
    assert told["changed"]
    assert len(told["pending"]) >= 20
    assert migrated.tables() & BEAT_TABLES == set()

    made = migrated.ask("migrations", apps=["all"])
    assert made["changed"]
    (repair,) = made["repaired"]
    assert (repair["app"], repair["tables"], repair["replay"]) == (BEAT, sorted(BEAT_TABLES), True)
    assert made["applied"] == told["pending"]
    assert made["lines"][0].endswith("its migrations run again")
    assert migrated.tables() >= BEAT_TABLES
    assert not migrated.ask("migrations", apps=["all"])["changed"]


def test_a_dropped_table_comes_back_empty_beside_the_others(migrated: Place) -> None:
    columns = "minute, hour, day_of_week, day_of_month, month_of_year, timezone"
    values = "'0', '2', '*', '*', '*', 'UTC'"
    migrated.sql(f"INSERT INTO {BEAT}_crontabschedule (id, {columns}) VALUES (7, {values})")
    migrated.sql(
        f"INSERT INTO {BEAT}_periodictask (name, task, args, kwargs, headers, enabled, one_off, description,"
        " total_run_count, date_changed, crontab_id)"
        " VALUES ('mine', 't', '[]', '{}', '{}', true, false, '', 0, now(), 7)"
    )
    drop(migrated, f"{BEAT}_crontabschedule")
    assert migrated.ask("migrations", apps=[BEAT], check=True)["repaired"][0]["replay"] is False

    made = migrated.ask("migrations", apps=[BEAT])
    (repair,) = made["repaired"]
    assert made["changed"]
    assert made["applied"] == []
    assert repair["tables"] == [f"{BEAT}_crontabschedule"]
    assert repair["notes"] == [f"{BEAT}_periodictask.crontab_id: 1 rows lead to rows that are gone"]
    assert migrated.sql(f"SELECT crontab_id FROM {BEAT}_periodictask") == [(7,)]
    # The row that lost its schedule must not get somebody else's.
    insert = f"INSERT INTO {BEAT}_crontabschedule ({columns}) VALUES ({values}) RETURNING id"
    assert migrated.sql(insert) == [(8,)]
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        migrated.sql(f"UPDATE {BEAT}_periodictask SET crontab_id = 99")
    assert not migrated.ask("migrations", apps=[BEAT])["changed"]


def test_tables_that_other_apps_build_upon_come_back_without_unapplying(migrated: Place) -> None:
    lost = sorted(name for name in migrated.tables() if name.startswith("pricing_"))
    drop(migrated, *lost)
    made = migrated.ask("migrations", apps=["all"])
    assert [(one["app"], one["tables"], one["replay"]) for one in made["repaired"]] == [("pricing", lost, False)]
    assert made["applied"] == []
    assert migrated.tables() >= set(lost)
    assert not migrated.ask("migrations", apps=["all"])["changed"]


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["extra_gem", "extra_gem_pairs"])
def test_many_to_many_tables_are_tables_too(extra: Callable[[str], Place], lost: str) -> None:
    place = extra("")
    place.ask("migrations", apps=["extra"])
    drop(place, lost)
    assert place.ask("migrations", apps=["extra"])["repaired"][0]["tables"] == [lost]
    assert place.tables() >= {"extra_gem", "extra_gem_pairs", "extra_ring"}
    assert not place.ask("migrations", apps=["extra"])["changed"]


def test_a_missing_column_is_named(migrated: Place) -> None:
    migrated.sql(f"ALTER TABLE {BEAT}_periodictask DROP COLUMN expire_seconds")
    assert migrated.ask("migrations", apps=[BEAT], check=True)["tables"]["missing_columns"] == [
        f"{BEAT}_periodictask.expire_seconds"
    ]
    with pytest.raises(AppError, match=f"missing: {BEAT}_periodictask.expire_seconds") as caught:
        migrated.ask("migrations", apps=[BEAT])
    assert caught.value.kind == "tables"


def test_a_failed_migration_shows_its_statement_and_the_next_run_goes_on(extra: Callable[[str], Place]) -> None:
    with pytest.raises(AppError, match=r"Migration extra\.0002_ring failed") as caught:
        extra(FAILING).ask("migrations", apps=["extra"])
    details = caught.value.details
    assert details["failed_migration"]["migration"] == "extra.0002_ring"
    assert details["failed_migration"]["statement"] == "INSERT INTO no_such_table SELECT 1"
    assert "no_such_table" in details["failed_migration"]["error"]
    assert "INSERT INTO no_such_table SELECT 1" in str(caught.value)
    assert details["changed"]
    assert details["applied"] == ["extra.0001_initial"]
    assert details["pending"] == ["extra.0001_initial", "extra.0002_ring"]

    place = extra("")
    assert place.ask("migrations", apps=["extra"], check=True)["pending"] == ["extra.0002_ring"]
    assert place.ask("migrations", apps=["extra"])["applied"] == ["extra.0002_ring"]


def test_two_at_once_do_it_once(empty: Place) -> None:
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(empty.ask, "migrations", apps=["all"]) for _ in range(2)]
        results = sorted((run.result() for run in runs), key=lambda result: bool(result["changed"]))
    assert [result["changed"] for result in results] == [False, True]
    assert results[0]["recorded"] == results[1]["recorded"]


def test_a_run_that_waits_too_long_says_for_whom(empty: Place) -> None:
    with empty.connect() as connection:
        key = connection.execute("SELECT pg_backend_pid()").fetchone()
        connection.execute("SELECT pg_advisory_lock(%s)", [database.key_of(database.MIGRATIONS_LOCK)])
        with pytest.raises(AppError, match="Another run holds the lock") as caught:
            empty.ask("migrations", apps=[BEAT], lock_timeout=0.1)
        assert caught.value.kind == "locked"
        assert key is not None
        assert f"server process {key[0]} of 127.0.0.1" in str(caught.value)
    assert empty.tables() == set()


def test_a_transaction_pooler_is_refused(empty: Place, pooler_port: int) -> None:
    empty.extra = {"DATABASE_PORT": str(pooler_port)}
    for check in (True, False):
        with pytest.raises(AppError, match="leads through a transaction pooler"):
            empty.ask("migrations", apps=[BEAT], database="default", check=check)
    assert empty.ask("migrations", apps=[BEAT], database="direct")["changed"]


def test_a_lost_record_of_migrations_is_told(migrated: Place) -> None:
    drop(migrated, "django_migrations")
    with pytest.raises(AppError, match="run migrate --fake-initial once"):
        migrated.ask("migrations", apps=[BEAT])


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        ({"apps": ["beat"]}, "labels among accounting, backups, core, django_celery_beat"),
        ({"apps": [BEAT], "database": "primary"}, "one of default, direct"),
        ({"apps": [BEAT], "app": "nothing_here"}, ""),
    ],
)
def test_bad_input_is_told(empty: Place, request_: dict[str, object], told: str) -> None:
    if "app" in request_:
        # Only an application names the settings then.
        del empty.environment["DJANGO_SETTINGS_MODULE"]
        told = "Celery application 'nothing_here' cannot be loaded"
    with pytest.raises(AppError, match=told):
        empty.ask("migrations", **request_)


def test_the_application_may_name_its_settings_itself(empty: Place) -> None:
    del empty.environment["DJANGO_SETTINGS_MODULE"]
    assert empty.ask("migrations", apps=[BEAT], check=True)["changed"]


def test_incomplete_settings_are_told_as_they_are(empty: Place) -> None:
    del empty.environment["DATABASE_NAME"]
    with pytest.raises(AppError, match="DATABASE_NAME is not set") as caught:
        empty.ask("migrations", apps=[BEAT])
    assert caught.value.kind == "settings"


def test_an_unreachable_database_is_told_without_the_password(empty: Place) -> None:
    empty.extra = {"DATABASE_DIRECT_PORT": "1", "CELERY_BROKER_URL": "redis://127.0.0.1:1/0"}
    outcome = empty.run("migrations", apps=[BEAT])
    assert '"kind": "unreachable"' in outcome.log
    assert PASSWORD not in outcome.log


def test_a_secret_in_an_error_is_left_out(extra: Callable[[str], Place]) -> None:
    place = extra(f"migrations.RunSQL(\"SELECT '{PASSWORD}'::integer\"),")
    outcome = place.run("migrations", apps=["extra"])
    assert "invalid input syntax for type integer" in outcome.log
    assert PASSWORD not in outcome.log
