from django.db import models
from django.utils import timezone

from apps.core.attempts import Attempt
from apps.core.fields import EncryptedTextField
from apps.core.models import Tenant


class Customer(models.Model):
    """Who receives a tenant's messages. The telephone number is encrypted."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    name = models.CharField(max_length=200)
    email = models.EmailField(blank=True)
    phone = EncryptedTextField(blank=True)


class Campaign(models.Model):
    """A text for all customers of a tenant."""

    class Channel(models.TextChoices):
        EMAIL = "email"
        SMS = "sms"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE)
    channel = models.CharField(max_length=5, choices=Channel)
    subject = models.CharField(max_length=200)
    body = models.TextField()
    send_at = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True)


class Message(Attempt):
    """A campaign's text for one customer, once."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE)
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)

    class Meta:
        constraints = (models.UniqueConstraint(fields=["campaign", "customer"], name="one_message_each"),)
        indexes = (models.Index(fields=["state", "next_attempt_at"], name="message_due"),)


class Digest(models.Model):
    """The alerts of one day, sent once."""

    day = models.DateField(unique=True)
    opened = models.PositiveIntegerField()
    unresolved = models.PositiveIntegerField()
    sent_at = models.DateTimeField(null=True)
