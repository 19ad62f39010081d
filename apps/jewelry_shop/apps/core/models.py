"""Tenants, and what watches over the platform."""

import uuid
from typing import Self

from django.db import models, transaction
from django.utils import timezone

from apps.core.attempts import Attempt
from apps.core.fields import EncryptedTextField


class Tenant(models.Model):
    """A shop. Rows that belong to one point here, directly or through another row."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=200)
    active = models.BooleanField(default=True)

    def __str__(self) -> str:
        return self.slug


class WriteProof(models.Model):
    """A row that debug_task writes and reads to show that the database takes writes."""

    task_id = models.CharField(max_length=255, unique=True)
    worker = models.CharField(max_length=255)
    written_at = models.DateTimeField(default=timezone.now)


class SystemMetric(models.Model):
    """One figure, once per collection slot."""

    name = models.CharField(max_length=100)
    value = models.FloatField()
    recorded_at = models.DateTimeField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=["name", "recorded_at"], name="metric_once_per_slot"),)


class ServiceStatus(models.Model):
    """What the last health check said of a service the shop needs."""

    service = models.CharField(max_length=50, unique=True)
    healthy = models.BooleanField()
    detail = models.TextField(blank=True)
    checked_at = models.DateTimeField()
    since = models.DateTimeField()


class Alert(models.Model):
    """Something a person ought to know. One alert per key is open at a time."""

    MAX_LEVEL = 3

    key = models.CharField(max_length=100)
    message = models.TextField()
    level = models.PositiveSmallIntegerField(default=1)
    opened_at = models.DateTimeField(default=timezone.now)
    escalated_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["key"], condition=models.Q(resolved_at__isnull=True), name="one_open_alert_per_key"
            ),
        )

    @classmethod
    def raise_for(cls, key: str, message: str) -> Self:
        """Open an alert, or bring the open one's message up to date."""
        with transaction.atomic():
            cls.objects.bulk_create([cls(key=key, message=message)], ignore_conflicts=True)
            alert = cls.objects.select_for_update().get(key=key, resolved_at__isnull=True)
            alert.message = message
            alert.save(update_fields=["message"])
        return alert


class WebhookEndpoint(models.Model):
    """Where a tenant wants to hear of events. The secret signs what is sent."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    url = models.URLField(max_length=500)
    secret = EncryptedTextField()
    active = models.BooleanField(default=True)


class WebhookDelivery(Attempt):
    """One event for one endpoint. The id goes along, so that the receiver can tell a repetition."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE)
    event = models.CharField(max_length=100)
    payload = models.JSONField()

    class Meta:
        indexes = (models.Index(fields=["state", "next_attempt_at"], name="delivery_due"),)
