"""Queue `pricing`."""

from datetime import timedelta
from decimal import Decimal

from celery import shared_task
from django.db import transaction
from django.utils import timezone

from apps.core.models import Tenant
from apps.core.timeslots import slot
from apps.core.webhooks import announce
from apps.pricing.models import GoldRate, Item, PriceChange
from apps.pricing.source import gold_rates

RATE_SLOT = timedelta(minutes=5)
KEEP = timedelta(days=90)


@shared_task
def fetch_gold_rates() -> dict[str, str]:
    """Record the rates of this slot; a second run in the slot adds nothing."""
    now = slot(timezone.now(), RATE_SLOT)
    rates = gold_rates(now)
    rows = [GoldRate(karat=karat, per_gram=rate, slot=now) for karat, rate in rates.items()]
    GoldRate.objects.bulk_create(rows, ignore_conflicts=True)
    return {str(karat): str(rate) for karat, rate in rates.items()}


@shared_task
def update_inventory_prices() -> dict[str, int]:
    """Price every item by the latest rate of its fineness, tenant by tenant, and tell the tenant's systems.

    A tenant's prices, their history and its event are one transaction, so a repetition after a crash sees
    either all of them or none and then changes nothing twice.
    """
    latest = {rate.karat: rate for rate in GoldRate.objects.order_by("karat", "-slot").distinct("karat")}
    changed = 0
    for tenant in Tenant.objects.filter(active=True).order_by("pk"):
        with transaction.atomic():
            changed += _reprice(tenant, latest)
    return {"changed": changed}


def _reprice(tenant: Tenant, latest: dict[int, GoldRate]) -> int:
    changed, changes = [], []
    for item in Item.objects.select_for_update().filter(tenant=tenant).order_by("pk"):
        rate = latest.get(item.karat)
        price = _price(item, rate.per_gram) if rate else item.price
        if rate is None or price == item.price:
            continue
        changes.append(PriceChange(item=item, rate_slot=rate.slot, old_price=item.price, new_price=price))
        item.price, item.priced_at = price, timezone.now()
        changed.append(item)
    Item.objects.bulk_update(changed, ["price", "priced_at"])
    PriceChange.objects.bulk_create(changes, ignore_conflicts=True)
    if changed:
        announce(tenant, "prices.updated", {"items": {item.sku: str(item.price) for item in changed}})
    return len(changed)


def _price(item: Item, per_gram: Decimal) -> Decimal:
    price = item.weight_grams * per_gram * (100 + item.margin_percent) / 100
    return price.quantize(Decimal("0.01"))


@shared_task
def clean_gold_rates() -> dict[str, int]:
    """Drop rates older than 90 days; prices keep their own history."""
    deleted, _by_model = GoldRate.objects.filter(slot__lt=timezone.now() - KEEP).delete()
    return {"deleted": deleted}
