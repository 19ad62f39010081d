"""Making, checking and dropping backup files."""

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import connections, models, transaction
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from apps.backups.models import Backup
from apps.core.files import complete_file, sha256, store_id
from apps.core.models import Tenant


class BackupError(Exception):
    """A backup could not be made or does not hold what it should."""


def make(task_id: str, kind: str, suffix: str, write: Callable[[Path], int], tenant: Tenant | None = None) -> Backup:
    """Make the backup of a task, once: `write` fills a file and returns the number of entries in it.

    The dump happens outside of any transaction of ours, so that it holds no row locks for its length.
    """
    backup, _made = Backup.objects.get_or_create(task_id=task_id, kind=kind, tenant=tenant)
    if backup.state == Backup.State.COMPLETE:
        return backup
    stamp = backup.started_at.strftime("%Y%m%dT%H%M%SZ")
    name = "-".join([kind, *([tenant.slug] if tenant else []), stamp, f"{backup.pk}{suffix}"])
    path = settings.BACKUP_DIR / name
    backup.store = store_id(settings.BACKUP_DIR)
    with complete_file(path) as unfinished:
        backup.entries = write(unfinished)
        backup.size, backup.sha256 = unfinished.stat().st_size, sha256(unfinished)
    backup.path, backup.state = str(path), Backup.State.COMPLETE
    backup.finished_at = backup.verified_at = timezone.now()
    backup.save()
    _drop_surplus(backup)
    return backup


def _drop_surplus(newest: Backup) -> None:
    """Keep the newest BACKUP_KEEP files of this kind and tenant in this store."""
    same = Backup.objects.filter(
        kind=newest.kind, tenant=newest.tenant, store=newest.store, state=Backup.State.COMPLETE
    )
    for surplus in same.order_by("-started_at", "-pk")[settings.BACKUP_KEEP :]:
        Path(surplus.path).unlink(missing_ok=True)
        surplus.delete()


def dump_database(path: Path) -> int:
    """pg_dump over a direct connection: a dump needs one session, which the pooler does not give."""
    database = connections["direct"].settings_dict
    _postgresql(
        "pg_dump",
        "--format=custom",
        f"--file={path}",
        f"--host={database['HOST']}",
        f"--port={database['PORT']}",
        f"--username={database['USER']}",
        "--no-password",
        f"--dbname={database['NAME']}",
        password=database["PASSWORD"],
    )
    return count_entries(path)


def count_entries(path: Path) -> int:
    """The entries that pg_restore finds in a dump; a dump it cannot list, or an empty one, is an error."""
    listed = _postgresql("pg_restore", "--list", str(path))
    entries = sum(not line.startswith(";") for line in listed.splitlines() if line)
    if not entries:
        raise BackupError(f"{path.name}: pg_restore lists no entry")
    return entries


def _postgresql(*command: str, password: str = "") -> str:
    environment = {"PATH": settings.COMMAND_PATH, "PGPASSWORD": password, "PGCONNECT_TIMEOUT": "5"}
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=settings.CELERY_TASK_TIME_LIMIT,
        check=False,
    )
    if done.returncode:
        raise BackupError(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def dump_tenant(tenant: Tenant, path: Path) -> int:
    """The rows of one tenant as CSV, one member per table, all from one snapshot.

    COPY moves the rows as they are stored, so encrypted fields stay encrypted.
    """
    rows = 0
    with (
        transaction.atomic(using="direct"),
        connections["direct"].cursor() as cursor,
        tarfile.open(path, "w:gz") as archive,
    ):
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for model, lookup in tenant_models():
            part = path.with_name(f"{path.name}.{model._meta.db_table}")
            try:
                rows += _copy_out(cursor, model, {lookup: tenant.pk}, part)
                archive.add(part, arcname=f"{model._meta.db_table}.csv")
            finally:
                part.unlink(missing_ok=True)
    return rows


def _copy_out(cursor: Any, model: type[models.Model], condition: dict[str, Any], path: Path) -> int:
    columns = [field.attname for field in model._meta.concrete_fields]
    query = model._base_manager.using("direct").filter(**condition).order_by("pk").values_list(*columns).query
    sql, parameters = query.get_compiler("direct").as_sql()
    statement = f"COPY ({sql}) TO STDOUT WITH (FORMAT csv, HEADER)"
    with path.open("wb") as file, cursor.copy(statement, parameters) as data:
        for block in data:
            file.write(block)
    return int(cursor.rowcount)


def tenant_models() -> list[tuple[type[models.Model], str]]:
    """Every table that belongs to tenants, and the lookup from its rows to the tenant."""
    found = [(Tenant, "pk")]
    known: dict[type[models.Model], str] = {}
    candidates = [model for model in apps.get_models() if model.__module__.startswith("apps.")]
    while True:
        added = {model: lookup for model in candidates if model not in known and (lookup := _lookup(model, known))}
        if not added:
            return found + sorted(known.items(), key=lambda item: item[0]._meta.db_table)
        known |= added


def _lookup(model: type[models.Model], known: dict[type[models.Model], str]) -> str:
    for field in model._meta.concrete_fields:
        target = field.related_model
        if target is Tenant:
            return field.name
        if target in known:
            return f"{field.name}__{known[target]}"
    return ""


def dump_configuration(path: Path) -> int:
    """What the platform is configured with, as far as it is in the database: schedule and tenants."""
    tables = (CrontabSchedule, IntervalSchedule, PeriodicTask, Tenant)
    rows = [
        {"model": model._meta.label, "row": row} for model in tables for row in model.objects.order_by("pk").values()
    ]
    with tarfile.open(path, "w:gz") as archive:
        part = path.with_name(f"{path.name}.jsonl")
        try:
            part.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
            archive.add(part, arcname="configuration.jsonl")
        finally:
            part.unlink(missing_ok=True)
    return len(rows)


def verify(backup: Backup) -> Backup:
    """Read a kept file again: present, unchanged, and of a form that can be restored."""
    path = Path(backup.path)
    if not path.exists():
        backup.state = Backup.State.MISSING
    elif sha256(path) != backup.sha256 or not _readable(backup, path):
        backup.state = Backup.State.CORRUPT
    else:
        backup.verified_at = timezone.now()
    backup.save(update_fields=["state", "verified_at"])
    return backup


def _readable(backup: Backup, path: Path) -> bool:
    try:
        if backup.kind == Backup.Kind.DATABASE:
            return count_entries(path) == backup.entries
        with tarfile.open(path) as archive:
            return bool(archive.getnames())
    except (BackupError, tarfile.TarError, OSError, EOFError):
        return False
