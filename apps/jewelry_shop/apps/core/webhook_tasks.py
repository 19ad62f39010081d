"""Queue `webhooks`."""

from datetime import timedelta

from celery import shared_task
from django.utils import timezone

from apps.core.models import WebhookDelivery
from apps.core.webhooks import deliver

KEEP = timedelta(days=30)


@shared_task
def retry_failed_deliveries() -> dict[str, int]:
    """Deliver what is due: new events and those that failed before."""
    claimed = WebhookDelivery.objects.select_related("endpoint").claim(timezone.now())
    delivered = sum(deliver(delivery) for delivery in claimed)
    return {"tried": len(claimed), "delivered": delivered}


@shared_task
def clean_deliveries() -> dict[str, int]:
    """Forget deliveries that ended, well or not, more than 30 days ago."""
    ended = WebhookDelivery.objects.exclude(state=WebhookDelivery.State.PENDING)
    deleted, _by_model = ended.filter(finished_at__lt=timezone.now() - KEEP).delete()
    return {"deleted": deleted}
