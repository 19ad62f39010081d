from django.db import models
from django.utils import timezone

from apps.core.models import Tenant


class Backup(models.Model):
    """A backup file. `task_id` makes a redelivered task finish its own backup instead of making another."""

    class Kind(models.TextChoices):
        DATABASE = "database"
        TENANT = "tenant"
        CONFIGURATION = "configuration"

    class State(models.TextChoices):
        RUNNING = "running"
        COMPLETE = "complete"
        CORRUPT = "corrupt"
        MISSING = "missing"

    task_id = models.CharField(max_length=255)
    kind = models.CharField(max_length=13, choices=Kind)
    tenant = models.ForeignKey(Tenant, null=True, on_delete=models.SET_NULL)
    state = models.CharField(max_length=8, choices=State, default=State.RUNNING)
    store = models.CharField(max_length=36, blank=True)
    path = models.CharField(max_length=500, blank=True)
    size = models.BigIntegerField(default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    entries = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    verified_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["task_id", "kind", "tenant"], nulls_distinct=False, name="one_backup_per_task"
            ),
        )


class WalMark(models.Model):
    """How far the write-ahead log and its archive had come in one hour."""

    slot = models.DateTimeField(unique=True)
    lsn = models.CharField(max_length=20)
    wal_file = models.CharField(max_length=24)
    bytes_written = models.BigIntegerField(null=True)
    switched = models.BooleanField()
    archiving = models.BooleanField()
    archived_count = models.BigIntegerField()
    failed_count = models.BigIntegerField()
    last_archived = models.CharField(max_length=100, blank=True)
