"""How messages leave: mail through Django's backend, SMS into files that a gateway would pick up."""

import json

from django.conf import settings
from django.core.mail import send_mail

from apps.core.files import complete_file
from apps.notifications.models import Campaign, Message


class ChannelError(Exception):
    """A message cannot be sent to this customer."""


def send(message: Message) -> None:
    """Send one message; raises ChannelError or OSError when it did not leave."""
    campaign, customer = message.campaign, message.customer
    if campaign.channel == Campaign.Channel.EMAIL:
        if not customer.email:
            raise ChannelError("the customer has no e-mail address")
        send_mail(campaign.subject, campaign.body, None, [customer.email])
        return
    if not customer.phone:
        raise ChannelError("the customer has no telephone number")
    # Named after the message: sent twice, it is still one file.
    with complete_file(settings.OUTBOX_DIR / "sms" / f"{message.pk}.json") as file:
        file.write_text(json.dumps({"to": customer.phone, "text": campaign.body}))
