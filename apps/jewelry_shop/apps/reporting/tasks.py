"""Queue `reports`."""

from datetime import datetime, timedelta

from celery import shared_task
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from apps.core.files import store_id
from apps.core.models import Tenant
from apps.notifications.models import Message
from apps.pricing.models import Item, PriceChange
from apps.reporting.files import remove, write_report
from apps.reporting.models import Execution, ScheduledReport, UsageStatistic

KEEP_FILES = timedelta(days=30)
KEEP_EXECUTIONS = timedelta(days=90)


@shared_task
def run_scheduled_reports() -> dict[str, list[str]]:
    """Write each report that is due. Another worker's reports are skipped, not waited for."""
    now = timezone.now()
    written = []
    due = ScheduledReport.objects.filter(active=True, next_run_at__lte=now).order_by("next_run_at")
    for key in due.values_list("pk", flat=True):
        path = _run(key, now)
        written += [path] if path else []
    return {"written": written}


def _run(key: int, now: datetime) -> str:
    with transaction.atomic():
        waiting = ScheduledReport.objects.select_for_update(skip_locked=True, of=("self",))
        report = waiting.select_related("tenant").filter(pk=key, active=True, next_run_at__lte=now).first()
        if report is None:
            return ""
        execution = write_report(report)
        execution.store = store_id(settings.REPORT_DIR)
        # The file's name tells the run, so a repeated run has just written the same file again.
        Execution.objects.bulk_create([execution], ignore_conflicts=True)
        report.next_run_at = report.following_run(now)
        report.save(update_fields=["next_run_at"])
    return execution.path


@shared_task
def update_next_runs() -> dict[str, int]:
    """Give a date to active reports that have none, and take it from those switched off."""
    now = timezone.now()
    with transaction.atomic():
        ended = ScheduledReport.objects.filter(active=False, next_run_at__isnull=False).update(next_run_at=None)
        undated = list(ScheduledReport.objects.select_for_update().filter(active=True, next_run_at__isnull=True))
        for report in undated:
            report.next_run_at = report.following_run(now)
        ScheduledReport.objects.bulk_update(undated, ["next_run_at"])
    return {"dated": len(undated), "ended": ended}


@shared_task
def clean_report_files() -> dict[str, int]:
    """Delete this store's files of runs older than 30 days; their rows stay for the statistics."""
    old = Execution.objects.filter(
        store=store_id(settings.REPORT_DIR), finished_at__lt=timezone.now() - KEEP_FILES
    ).exclude(path="")
    # Files first: a crash in between leaves rows whose files are gone, which the next run clears.
    deleted = remove(old.values_list("path", flat=True))
    return {"deleted": deleted, "cleared": old.update(path="")}


@shared_task
def clean_executions() -> dict[str, int]:
    """Forget runs older than 90 days."""
    deleted, _by_model = Execution.objects.filter(finished_at__lt=timezone.now() - KEEP_EXECUTIONS).delete()
    return {"deleted": deleted}


@shared_task
def collect_usage_statistics() -> dict[str, int]:
    """Record what each tenant used in the week that ended on Sunday."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    end = today - timedelta(days=today.weekday())
    week = (end - timedelta(days=7), end)
    rows = [
        UsageStatistic(
            tenant=tenant,
            week=week[0].date(),
            items=Item.objects.filter(tenant=tenant).count(),
            price_changes=PriceChange.objects.filter(item__tenant=tenant, changed_at__range=week).count(),
            reports=Execution.objects.filter(report__tenant=tenant, finished_at__range=week).count(),
            messages=Message.objects.filter(customer__tenant=tenant, finished_at__range=week).count(),
        )
        for tenant in Tenant.objects.order_by("pk")
    ]
    UsageStatistic.objects.bulk_create(rows, ignore_conflicts=True)
    return {"tenants": len(rows)}
