from django.db import models
from django.utils import timezone

from apps.core.models import Tenant


class Asset(models.Model):
    """Something a tenant owns that loses value in a straight line."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    name = models.CharField(max_length=200)
    cost = models.DecimalField(max_digits=12, decimal_places=2)
    salvage = models.DecimalField(max_digits=12, decimal_places=2, default=0)
    life_months = models.PositiveSmallIntegerField()
    acquired_on = models.DateField()


class Depreciation(models.Model):
    """What an asset lost in a month. Once per month, however often the task runs."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE)
    month = models.DateField()
    amount = models.DecimalField(max_digits=12, decimal_places=2)
    book_value = models.DecimalField(max_digits=12, decimal_places=2)
    booked_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["asset", "month"], name="depreciated_once_a_month"),)
