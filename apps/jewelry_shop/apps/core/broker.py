"""The broker as this process reaches it, for health checks, metrics and proof."""

import json
from typing import Any

from config.celery import app


def redis_client() -> Any:
    """A client of the broker's Redis, from the app's own connection, so with its URL and timeouts."""
    with app.connection_for_write() as connection:
        return connection.default_channel.client


def queue_lengths() -> dict[str, int]:
    """Waiting and unacknowledged messages by queue: both are work that is not done."""
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        client = channel.client
        lengths = {
            name: sum(client.llen(channel._q_for_pri(name, step)) for step in channel.priority_steps)
            for name in app.amqp.queues
        }
        for entry in client.hvals(channel.unacked_key):
            _message, _exchange, routing_key = json.loads(entry)
            if routing_key in lengths:
                lengths[routing_key] += 1
        return lengths
