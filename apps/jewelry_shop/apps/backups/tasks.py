"""Queue `backups`."""

from datetime import timedelta
from typing import Any

from celery import Task, shared_task
from django.conf import settings
from django.db import connections
from django.utils import timezone

from apps.backups import store
from apps.backups.models import Backup, WalMark
from apps.core.files import store_id
from apps.core.models import Alert, Tenant
from apps.core.timeslots import slot

POSITION = """
    SELECT pg_current_wal_lsn()::text, pg_walfile_name(pg_current_wal_lsn()),
           current_setting('archive_mode') <> 'off', archived_count, failed_count,
           coalesce(last_archived_wal, ''),
           coalesce(last_failed_time > last_archived_time, last_failed_time IS NOT NULL)
    FROM pg_stat_archiver
"""


def _summary(backup: Backup) -> dict[str, Any]:
    return {"path": backup.path, "size": backup.size, "sha256": backup.sha256, "entries": backup.entries}


@shared_task(bind=True)
def backup_database(self: Task) -> dict[str, Any]:
    """Dump the whole database; the dump counts only when pg_restore can list it."""
    return _summary(store.make(self.request.id, Backup.Kind.DATABASE, ".dump", store.dump_database))


@shared_task(bind=True)
def backup_tenants(self: Task) -> dict[str, Any]:
    """Save the rows of every active tenant, one archive each, so that one can be restored alone."""
    made = {}
    for tenant in Tenant.objects.filter(active=True).order_by("pk"):
        made[tenant.slug] = _summary(
            store.make(
                self.request.id,
                Backup.Kind.TENANT,
                ".tar.gz",
                lambda path, tenant=tenant: store.dump_tenant(tenant, path),
                tenant,
            )
        )
    return made


@shared_task(bind=True)
def backup_configuration(self: Task) -> dict[str, Any]:
    """Save the schedule and the tenants."""
    return _summary(store.make(self.request.id, Backup.Kind.CONFIGURATION, ".tar.gz", store.dump_configuration))


@shared_task
def archive_wal() -> dict[str, Any]:
    """Record how far the write-ahead log and the server's archiver have come, once an hour.

    Archiving itself is the server's: its archive_command moves the files. An application user may read the
    position and the archiver's statistics; to end the current WAL file, so that it is archived now, takes
    a right on pg_switch_wal() that only an administrator can grant. With the right this task does it, and
    `switched` says whether it did. An archiver that failed last raises an alert.
    """
    hour = slot(timezone.now(), timedelta(hours=1))
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT has_function_privilege('pg_switch_wal()', 'execute')")
        (may_switch,) = cursor.fetchone()
        switched = may_switch and not WalMark.objects.filter(slot=hour).exists()
        if switched:
            cursor.execute("SELECT pg_switch_wal()")
        cursor.execute(POSITION)
        lsn, wal_file, archiving, archived, failed, last, failing = cursor.fetchone()
        before = WalMark.objects.filter(slot__lt=hour).order_by("-slot").first()
        written = None
        if before is not None:
            cursor.execute("SELECT pg_wal_lsn_diff(%s, %s)", [lsn, before.lsn])
            written = int(cursor.fetchone()[0])
    mark, created = WalMark.objects.get_or_create(
        slot=hour,
        defaults={
            "lsn": lsn,
            "wal_file": wal_file,
            "bytes_written": written,
            "switched": switched,
            "archiving": archiving,
            "archived_count": archived,
            "failed_count": failed,
            "last_archived": last,
        },
    )
    if failing:
        Alert.raise_for("wal-archive", f"the server's archiver fails; the last file it archived is {last or 'none'}")
    return {"lsn": mark.lsn, "wal_file": mark.wal_file, "switched": mark.switched, "new": created}


@shared_task
def check_storage_integrity() -> dict[str, Any]:
    """Read every backup of this store again; a file that is gone or changed raises an alert.

    Files in other pods' stores cannot be seen from here and are only counted.
    """
    complete = Backup.objects.filter(state=Backup.State.COMPLETE)
    here = store_id(settings.BACKUP_DIR)
    checked = [store.verify(backup) for backup in complete.filter(store=here).order_by("pk")]
    bad = {backup.path: backup.state for backup in checked if backup.state != Backup.State.COMPLETE}
    for path, state in bad.items():
        Alert.raise_for(f"backup:{path}"[:100], f"the backup {path} is {state}")
    return {"checked": len(checked), "bad": bad, "elsewhere": complete.exclude(store=here).count()}
