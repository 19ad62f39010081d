"""Report files: CSV, complete or absent."""

import csv
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from apps.core.files import complete_file
from apps.pricing.models import Item, PriceChange
from apps.reporting.models import Execution, ScheduledReport

INVENTORY = ("sku", "karat", "weight_grams", "margin_percent", "price", "priced_at")
PRICE_CHANGES = ("item__sku", "old_price", "new_price", "rate_slot", "changed_at")


def write_report(report: ScheduledReport) -> Execution:
    """Write the run that is due into a file named after it; the caller saves the row."""
    due = report.next_run_at
    stamp = due.strftime("%Y%m%dT%H%M%SZ")
    path = settings.REPORT_DIR / report.tenant.slug / f"{report.kind}-{report.pk}-{stamp}.csv"
    columns, rows = _content(report)
    with complete_file(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return Execution(report=report, scheduled_for=due, path=str(path), rows=len(rows))


def _content(report: ScheduledReport) -> tuple[tuple[str, ...], QuerySet[Any, Any]]:
    if report.kind == ScheduledReport.Kind.INVENTORY:
        items = Item.objects.filter(tenant=report.tenant).order_by("sku")
        return INVENTORY, items.values_list(*INVENTORY)
    since = report.next_run_at - timedelta(minutes=report.every_minutes)
    changes = PriceChange.objects.filter(item__tenant=report.tenant, changed_at__gt=since).order_by("changed_at")
    return PRICE_CHANGES, changes.values_list(*PRICE_CHANGES)


def remove(paths: Iterable[str]) -> int:
    """Delete files; one that is gone already is no error."""
    found = [path for path in map(Path, paths) if path.exists()]
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
