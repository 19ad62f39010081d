# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables and columns as the database's catalogue has them, and the restoring of lost ones."""

# Django is the pod's: it is imported where it is used.
# ruff: noqa: PLC0415

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Findings", "Repair", "find_lost", "repair", "verify"]


@dataclass
class Findings:
    """How many tables and columns the models have, and which of them the database has not."""

    tables: int = 0
    columns: int = 0
    missing_tables: list[str] = field(default_factory=list)
    missing_columns: list[str] = field(default_factory=list)


@dataclass
class Repair:
    """Tables of one app that the migrations made and that are gone.

    ``replay``: all of them are, and no other app's migration builds upon them: the app's migrations run
    again from the first. Otherwise the missing tables are made as the migrations left them.
    """

    app: str
    tables: list[str]
    replay: bool
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        how = "its migrations run again" if self.replay else "made anew, empty"
        return [f"{self.app}: missing although migrated: {', '.join(self.tables)}: {how}", *self.notes]


def verify(connection: Any, labels: Iterable[str]) -> Findings:
    """Compares the models of the installed apps with the catalogue."""
    from django.apps import apps

    wanted = set(labels)
    findings = Findings()
    models = _models(connection, apps, wanted)
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
        for model in models:
            table = model._meta.db_table
            columns = [one.column for one in model._meta.local_concrete_fields]
            findings.tables += 1
            findings.columns += len(columns)
            if table not in present:
                findings.missing_tables.append(table)
                continue
            found = {one.name for one in connection.introspection.get_table_description(cursor, table)}
            findings.missing_columns += [f"{table}.{column}" for column in columns if column not in found]
    return findings


def find_lost(connection: Any, loader: Any, labels: Iterable[str]) -> list[tuple[Repair, list[Any]]]:
    """What the recorded migrations made and the database has no more, with the models as they were then."""
    applied = [key for key in loader.graph.nodes if key in loader.applied_migrations]
    state = loader.project_state(applied).apps
    with connection.cursor() as cursor:
        present = set(connection.introspection.table_names(cursor))
    lost = []
    for label in labels:
        models = _models(connection, state, {label})
        missing = [model for model in models if model._meta.db_table not in present]
        if missing:
            replay = len(missing) == len(models) and not _depended_upon(loader, label, applied)
            tables = sorted(model._meta.db_table for model in missing)
            lost.append((Repair(label, tables, replay), missing))
    return lost


def repair(connection: Any, loader: Any, recorder: Any, labels: Iterable[str]) -> list[Repair]:
    """Restores lost tables in one transaction, or forgets migrations so that they run again."""
    from django.db import transaction

    lost = find_lost(connection, loader, labels)
    recreated: list[Any] = []
    with transaction.atomic(using=connection.alias):
        for one, models in lost:
            if one.replay:
                recorder.migration_qs.filter(app=one.app).delete()
            else:
                recreated += models
        if recreated:
            _recreate(connection, recreated, {model: one for one, models in lost for model in models})
    return [one for one, _models_of in lost]


def _models(connection: Any, registry: Any, labels: set[str]) -> list[Any]:
    """The models whose tables migrations make, many-to-many tables among them."""
    from django.db import router

    found = []
    for model in registry.get_models(include_auto_created=True, include_swapped=False):
        options = model._meta
        if options.app_label not in labels or not options.can_migrate(connection):
            continue
        # A name with a quote or a dot is a way to name another schema: the catalogue lists it otherwise.
        if set(options.db_table) & set('".'):
            continue
        if router.allow_migrate_model(connection.alias, model):
            found.append(model)
    return found


def _depended_upon(loader: Any, label: str, applied: Iterable[Any]) -> bool:
    return any(
        key[0] != label and any(parent.key[0] == label for parent in loader.graph.node_map[key].parents)
        for key in applied
    )


def _recreate(connection: Any, models: list[Any], reports: dict[Any, Repair]) -> None:
    awaited = {model._meta.db_table for model in models}

    class Editor(connection.SchemaEditorClass):  # type: ignore[misc]
        """Makes each missing table once; a model's many-to-many tables may be there still."""

        def create_model(self, model: Any) -> None:
            if model._meta.db_table in awaited:
                awaited.discard(model._meta.db_table)
                super().create_model(model)

    with Editor(connection, atomic=True) as editor:
        for model in models:
            editor.create_model(model)
    if connection.vendor == "postgresql":
        for model in models:
            reports[model].notes += _restore_references(connection, model, set(models))


def _restore_references(connection: Any, model: Any, fresh: set[Any]) -> list[str]:
    """Rows elsewhere still carry keys of lost rows: a new row with such a key would get them.

    The foreign keys went with the table; they come back for what is written from now on.
    """
    lines = []
    key = model._meta.pk
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        highest = 0
        for relation in model._meta.get_fields(include_hidden=True):
            if not (relation.auto_created and (relation.one_to_many or relation.one_to_one)):
                continue
            source, column = relation.related_model, relation.field
            if source in fresh or not source._meta.can_migrate(connection):
                continue
            table = source._meta.db_table
            name = f"{quote(table)}.{quote(column.column)}"
            cursor.execute(
                f"SELECT count(*), max({name}::text::bigint) FROM {quote(table)} WHERE {name} IS NOT NULL"  # noqa: S608
                if key.get_internal_type().endswith("AutoField")
                else f"SELECT count(*), NULL FROM {quote(table)} WHERE {name} IS NOT NULL"  # noqa: S608
            )
            count, largest = cursor.fetchone()
            highest = max(highest, largest or 0)
            if count:
                lines.append(f"{table}.{column.column}: {count} rows lead to rows that are gone")
            constraints = connection.introspection.get_constraints(cursor, table).values()
            if column.db_constraint and not any(
                one["foreign_key"] and one["columns"] == [column.column] for one in constraints
            ):
                with connection.schema_editor() as editor:
                    suffix = f"_fk_{model._meta.db_table}_{key.column}"
                    editor.execute(f"{editor._create_fk_sql(source, column, suffix)} NOT VALID", None)
        if highest:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(%s, %s), %s)",
                [quote(model._meta.db_table), key.column, highest],
            )
    return lines
