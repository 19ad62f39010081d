# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the migrations of apps inside the application's image, and says what it did and found."""

# Django is the pod's: it is imported where it is used.
# ruff: noqa: PLC0415

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import database, tables
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import (
    Refused,
    load_django,
)

__all__ = ["main", "settled"]

Json = dict[str, Any]
# The table is there already: its app was migrated once, and the record of it is lost.
DUPLICATE_TABLE = "42P07"


def main(request: Json) -> Json:
    """Request: app, apps, database (alias or None), check, lock_timeout. Answer: as RETURN has it."""
    load_django(request["app"])
    import django
    from django.db import connections

    alias = database.choose(request["database"])
    connection = connections[alias]
    database.open_session(connection)
    if request["check"]:
        database.read_only(connection)
        result = _look(connection, request["apps"])
    else:
        with database.locked(connection, request["lock_timeout"]):
            result = _migrate(connection, request["apps"])
    place = connection.settings_dict
    return {
        **result,
        "database": {
            "alias": alias,
            "vendor": connection.vendor,
            "host": place["HOST"],
            "name": place["NAME"],
        },
        "versions": {"django": django.get_version(), **_beat_version()},
    }


def settled(answer: Json) -> bool:
    """Whether an answer of check mode leaves nothing to do, and no table or column is missing."""
    tables = answer.get("tables", {})
    return not (answer.get("changed") or tables.get("missing_tables") or tables.get("missing_columns"))


class _Ledger:
    """What the installed version has, and what is recorded as applied."""

    def __init__(self, connection: Any, wanted: list[str]) -> None:
        from django.db.migrations.executor import MigrationExecutor

        self.executor = MigrationExecutor(connection)
        self.loader = self.executor.loader
        migrated = sorted(self.loader.migrated_apps)
        self.labels = migrated if wanted == ["all"] else wanted
        unknown = [label for label in self.labels if label not in migrated]
        if unknown:
            raise Refused(
                "Not every app is installed with migrations",
                kind="input",
                expected="all, or labels among " + ", ".join(migrated),
                found=", ".join(unknown),
                remedy="Correct the option apps, or INSTALLED_APPS in the application's settings.",
            )
        conflicts = self.loader.detect_conflicts()
        if conflicts:
            raise Refused(
                "Migrations of one app contradict each other",
                kind="input",
                expected="one last migration in each app",
                found="; ".join(f"{app}: {', '.join(names)}" for app, names in conflicts.items()),
                remedy="Run manage.py makemigrations --merge and build the image anew.",
            )

    @property
    def pending(self) -> list[str]:
        targets = [key for key in self.loader.graph.leaf_nodes() if key[0] in self.labels]
        return [_name((one.app_label, one.name)) for one, _backwards in self.executor.migration_plan(targets)]

    def in_order(self, names: set[str]) -> list[str]:
        """The names as an empty database would get them."""
        plan = self.executor.migration_plan(self.loader.graph.leaf_nodes(), clean_start=True)
        return [name for name in (_name((one.app_label, one.name)) for one, _backwards in plan) if name in names]

    @property
    def recorded(self) -> list[str]:
        known = self.loader.disk_migrations
        return sorted(_name(key) for key in self.loader.applied_migrations if key[0] in self.labels and key in known)


def _look(connection: Any, wanted: list[str]) -> Json:
    ledger = _Ledger(connection, wanted)
    lost = [one for one, _models in tables.find_lost(connection, ledger.loader, ledger.labels)]
    replayed = {one.app for one in lost if one.replay}
    recorded = ledger.recorded
    again = [name for name in recorded if name.split(".")[0] in replayed]
    pending = ledger.in_order({*again, *ledger.pending})
    findings = tables.verify(connection, ledger.labels)
    return {
        "changed": bool(pending or lost),
        "pending": pending,
        "applied": [],
        "recorded": [name for name in recorded if name not in again],
        "repaired": [asdict(one) for one in lost],
        "lines": [*(line for one in lost for line in one.lines()), *(f"pending {name}" for name in pending)],
        "tables": asdict(findings),
    }


def _migrate(connection: Any, wanted: list[str]) -> Json:
    ledger = _Ledger(connection, wanted)
    repaired = tables.repair(connection, ledger.loader, ledger.executor.recorder, ledger.labels)
    if repaired:
        ledger = _Ledger(connection, wanted)
    lines = [line for one in repaired for line in one.lines()]
    before, pending = set(ledger.recorded), ledger.pending
    progress = _Progress(lines)
    problem: Exception | None = None
    statements = database.Statements()
    try:
        with connection.execute_wrapper(statements):
            _run_command(connection, ledger.labels if wanted != ["all"] else [None], progress)
    except Exception as raised:
        problem = raised
        connection.close()
    ledger = _Ledger(connection, wanted)
    result = {
        "changed": bool(repaired or progress.applied or set(ledger.recorded) - before),
        "pending": pending,
        "applied": progress.applied,
        "recorded": ledger.recorded,
        "repaired": [asdict(one) for one in repaired],
        "lines": lines,
    }
    if problem is not None:
        raise _failure(problem, progress, statements, result) from problem
    findings = tables.verify(connection, ledger.labels)
    if findings.missing_tables or findings.missing_columns:
        raise Refused(
            "The database lacks tables or columns of the models although all migrations are applied",
            kind="tables",
            expected=f"{findings.tables} tables with {findings.columns} columns",
            found="missing: " + ", ".join([*findings.missing_tables, *findings.missing_columns]),
            remedy="Where a model has changed run manage.py makemigrations and build the image anew; a "
            "column that was dropped by hand must be restored by hand.",
            **result,
            tables=asdict(findings),
        )
    return {**result, "tables": asdict(findings)}


class _Progress:
    """Hears of each migration from Django's own command."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.applied: list[str] = []
        self.current: Any = None
        self._began = 0.0

    def __call__(self, action: str, migration: Any = None, fake: bool = False) -> None:
        if action == "apply_start":
            self.current, self._began = migration, time.monotonic()
        elif action == "apply_success":
            name = _name((migration.app_label, migration.name))
            self.applied.append(name)
            self.lines.append(f"applied {name} ({time.monotonic() - self._began:.2f} s)")
            self.current = None


def _run_command(connection: Any, labels: list[Any], progress: _Progress) -> None:
    """The project's own migrate command, for its signals and for projects that have replaced it."""
    from django.core.management import call_command, get_commands, load_command_class

    for label in labels:
        command: Any = load_command_class(get_commands()["migrate"], "migrate")
        command.migration_progress_callback = progress
        call_command(command, *([label] if label else []), database=connection.alias, interactive=False, verbosity=0)


def _failure(problem: Exception, progress: _Progress, statements: database.Statements, result: Json) -> Refused:
    running = progress.current
    told = f"{type(problem).__name__}: {problem}".strip()
    failed: Json = {"migration": None, "statement": statements.failed, "error": told}
    if running is None:
        message = "The migrations failed"
        remedy = "Correct the cause and run this again: it goes on from there."
    else:
        failed["migration"] = _name((running.app_label, running.name))
        message = f"Migration {failed['migration']} failed"
        remedy = "Correct the cause and run this again: it goes on with this migration." + (
            "" if running.atomic else " It is not atomic: what it did before this statement is still there."
        )
    if getattr(problem.__cause__, "sqlstate", None) == DUPLICATE_TABLE:
        remedy += " If the tables are right and only their record is lost, run migrate --fake-initial once."
    found = told if statements.failed is None else f"{told} in the statement: {statements.failed}"
    return Refused(message, kind="migration", found=found, remedy=remedy, **result, failed_migration=failed)


def _name(key: tuple[str, str]) -> str:
    return f"{key[0]}.{key[1]}"


def _beat_version() -> Json:
    from importlib import metadata

    try:
        return {"django_celery_beat": metadata.version("django-celery-beat")}
    except metadata.PackageNotFoundError:
        return {}
