from datetime import datetime, timedelta

from django.db import models
from django.utils import timezone

from apps.core.models import Tenant


class ScheduledReport(models.Model):
    """A report that a tenant wants every so often."""

    class Kind(models.TextChoices):
        INVENTORY = "inventory"
        PRICE_CHANGES = "price_changes"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    kind = models.CharField(max_length=13, choices=Kind)
    every_minutes = models.PositiveIntegerField(default=1440)
    next_run_at = models.DateTimeField(null=True)
    active = models.BooleanField(default=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["tenant", "kind"], name="report_once_per_tenant"),)

    def following_run(self, after: datetime) -> datetime:
        """The first run after `after`, in step with the runs so far; missed runs are not made up."""
        step = timedelta(minutes=max(1, self.every_minutes))
        first = self.next_run_at or after
        if first > after:
            return first
        return first + step * ((after - first) // step + 1)


class Execution(models.Model):
    """One run of a report. A redelivered task finds it and writes no second one."""

    report = models.ForeignKey(ScheduledReport, on_delete=models.CASCADE)
    scheduled_for = models.DateTimeField()
    store = models.CharField(max_length=36)
    path = models.CharField(max_length=500)
    rows = models.PositiveIntegerField()
    finished_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["report", "scheduled_for"], name="run_once_when_due"),)


class UsageStatistic(models.Model):
    """What a tenant used in a week."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    week = models.DateField()
    items = models.PositiveIntegerField()
    price_changes = models.PositiveIntegerField()
    reports = models.PositiveIntegerField()
    messages = models.PositiveIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["tenant", "week"], name="usage_once_a_week"),)
