"""Events on their way to the tenants' own systems."""

import hashlib
import hmac
import json
import urllib.error
import urllib.request
from typing import Any

from apps.core.models import Tenant, WebhookDelivery, WebhookEndpoint

TIMEOUT = 5.0


def announce(tenant: Tenant, event: str, payload: dict[str, Any]) -> int:
    """Queue an event for every endpoint of a tenant, in the caller's transaction."""
    endpoints = WebhookEndpoint.objects.filter(tenant=tenant, active=True)
    rows = [WebhookDelivery(endpoint=endpoint, event=event, payload=payload) for endpoint in endpoints]
    return len(WebhookDelivery.objects.bulk_create(rows))


def deliver(delivery: WebhookDelivery) -> bool:
    """POST an event; whatever is not a 2xx answer is kept in the row as the reason to try again."""
    body = json.dumps({"id": str(delivery.id), "event": delivery.event, "data": delivery.payload}).encode()
    signature = hmac.new(delivery.endpoint.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "Idempotency-Key": str(delivery.id),
        "X-Shop-Signature": f"sha256={signature}",
    }
    if not delivery.endpoint.url.startswith(("http://", "https://")):
        delivery.failed("the endpoint's URL is neither http nor https")
        return False
    request = urllib.request.Request(delivery.endpoint.url, body, headers)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT):  # noqa: S310
            delivery.succeeded()
            return True
    except (OSError, ValueError) as error:  # URLError and HTTPError are OSErrors; a bad URL is a ValueError
        delivery.failed(f"{type(error).__name__}: {error}")
        return False
