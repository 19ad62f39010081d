"""Queue `accounting`."""

from datetime import date, timedelta
from decimal import Decimal

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from apps.accounting.models import Asset, Depreciation


@shared_task
def run_monthly_depreciation() -> dict[str, int]:
    """Book every month that has ended and is not booked yet, so that a missed run is caught up with."""
    last_month = (timezone.now().date().replace(day=1) - timedelta(days=1)).replace(day=1)
    rows = [row for asset in Asset.objects.order_by("pk") for row in schedule(asset, last_month)]
    with transaction.atomic():
        before = Depreciation.objects.count()
        Depreciation.objects.bulk_create(rows, ignore_conflicts=True)
        booked = Depreciation.objects.count() - before
    return {"booked": booked}


def schedule(asset: Asset, until: date) -> list[Depreciation]:
    """The bookings of an asset from the month it was acquired to `until`; the last takes the rounding."""
    loss = asset.cost - asset.salvage
    rate = (loss / asset.life_months).quantize(Decimal("0.01"))
    rows: list[Depreciation] = []
    month, value = asset.acquired_on.replace(day=1), asset.cost
    while month <= until and len(rows) < asset.life_months:
        last = len(rows) == asset.life_months - 1
        amount = value - asset.salvage if last else rate
        value -= amount
        rows.append(Depreciation(asset=asset, month=month, amount=amount, book_value=value))
        month = (month + timedelta(days=32)).replace(day=1)
    return rows
