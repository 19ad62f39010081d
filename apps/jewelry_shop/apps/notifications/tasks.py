"""Queue `notifications`."""

from datetime import timedelta
from typing import Any

from celery import shared_task
from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils import timezone

from apps.core.models import Alert
from apps.notifications.channels import ChannelError, send
from apps.notifications.models import Campaign, Customer, Digest, Message


@shared_task
def send_campaigns() -> dict[str, int]:
    """Make a message for each customer of the campaigns that are due, then send what is due.

    Sending is at least once: a worker that dies between sending and noting it sends that one again.
    """
    with transaction.atomic():
        due = Campaign.objects.select_for_update(skip_locked=True).filter(
            started_at__isnull=True, send_at__lte=timezone.now()
        )
        started = [_start(campaign) for campaign in due]
    claimed = Message.objects.select_related("campaign", "customer").claim(timezone.now())
    sent = sum(_send(message) for message in claimed)
    return {"campaigns": len(started), "tried": len(claimed), "sent": sent}


def _start(campaign: Campaign) -> Campaign:
    customers = Customer.objects.filter(tenant_id=campaign.tenant_id)
    Message.objects.bulk_create(
        [Message(campaign=campaign, customer=customer) for customer in customers], ignore_conflicts=True
    )
    campaign.started_at = timezone.now()
    campaign.save(update_fields=["started_at"])
    return campaign


def _send(message: Message) -> bool:
    try:
        send(message)
    except (ChannelError, OSError) as error:  # SMTPException is an OSError
        message.failed(f"{type(error).__name__}: {error}")
        return False
    message.succeeded()
    return True


@shared_task
def send_alert_digest() -> dict[str, Any]:
    """Mail yesterday's alerts to the operators, once a day."""
    today = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    yesterday = today - timedelta(days=1)
    opened = Alert.objects.filter(opened_at__gte=yesterday, opened_at__lt=today).order_by("opened_at")
    unresolved = Alert.objects.filter(resolved_at__isnull=True).count()
    with transaction.atomic():
        digest, _made = Digest.objects.get_or_create(
            day=yesterday.date(), defaults={"opened": opened.count(), "unresolved": unresolved}
        )
        digest = Digest.objects.select_for_update().get(pk=digest.pk)
        if digest.sent_at is None:
            lines = [f"{alert.opened_at:%H:%M} level {alert.level} {alert.key}: {alert.message}" for alert in opened]
            text = "\n".join([f"{digest.opened} opened, {digest.unresolved} unresolved", *lines])
            send_mail(f"Alerts of {digest.day}", text, None, [settings.OPERATIONS_EMAIL])
            digest.sent_at = timezone.now()
            digest.save(update_fields=["sent_at"])
    return {"day": str(digest.day), "opened": digest.opened, "unresolved": digest.unresolved}
