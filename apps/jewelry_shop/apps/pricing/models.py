from django.db import models
from django.utils import timezone

from apps.core.models import Tenant


class GoldRate(models.Model):
    """Price of a gram of gold of one fineness in one slot of five minutes."""

    karat = models.PositiveSmallIntegerField()
    per_gram = models.DecimalField(max_digits=10, decimal_places=4)
    slot = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["karat", "slot"], name="one_rate_per_slot"),)


class Item(models.Model):
    """A piece in a tenant's inventory; its price follows the gold rate."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    sku = models.CharField(max_length=50)
    karat = models.PositiveSmallIntegerField()
    weight_grams = models.DecimalField(max_digits=8, decimal_places=3)
    margin_percent = models.DecimalField(max_digits=5, decimal_places=2)
    price = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    priced_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["tenant", "sku"], name="sku_once_per_tenant"),)


class PriceChange(models.Model):
    """An old price, a new one, and when the rate behind it was valid."""

    item = models.ForeignKey(Item, on_delete=models.CASCADE)
    rate_slot = models.DateTimeField()
    old_price = models.DecimalField(max_digits=12, decimal_places=2)
    new_price = models.DecimalField(max_digits=12, decimal_places=2)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["item", "rate_slot"], name="one_change_per_rate"),)
