# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backlog of each queue, from the broker itself: what waits in its lists, and what was delivered and is not done.

This file runs beside the application: it is sent to a container as text, and role celery_pod brings it into every
worker. So it stands alone: standard library on top, and the application's own libraries where they are used. Any
Python from 3.9 on.

On Redis, kombu keeps a queue in one list per priority step, and what a consumer holds in one hash for all queues
together, as JSON ``[message, exchange, routing_key]``. A message with an ETA lies there until its time. Late-acked
tasks stay there while they run; an early-acked one that runs is nowhere in the broker.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

__all__ = ["Unknown", "declared", "homes", "opened", "read"]

Json = dict[str, Any]
# Up to so many unacknowledged messages are read in one instant with the lists; more of them in portions of this size.
BATCH = 250
# Pairs of exchange and routing key whose queues are remembered
PAIRS = 1024


class Unknown(Exception):
    """The broker is of a kind whose backlog is not known here."""


def declared(app: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the application's queues, and of its fanout exchanges: what these carry lies in no list."""
    queues, fanout = set(), set()
    for name, queue in list(app.amqp.queues.items()):
        if getattr(queue.exchange, "type", None) == "fanout":
            fanout.add(queue.exchange.name)
        else:
            queues.add(name)
    return frozenset(queues), frozenset(fanout)


@contextlib.contextmanager
def opened(connection: Any, within: float) -> Iterator[Any]:
    """A channel on a fresh connection to the broker, closed at the end; no answer takes longer than ``within`` seconds.

    ``connection`` is the application's ``connection_for_read()``, not in use yet. Of several URLs the first that
    answers counts.
    """
    options = {"socket_timeout": within, "socket_connect_timeout": within}
    connection.transport_options = {**(connection.transport_options or {}), **options}
    connection.connect_timeout = within
    try:
        # One attempt at each URL, and one more at the first.
        attempts = {"max_retries": max(1, len(connection.alt)), "interval_start": 0, "interval_step": 0}
        connection.ensure_connection(**attempts, reraise_as_library_errors=False)
        yield connection.default_channel
    finally:
        connection.release()


def homes(channel: Any, exchange: str, key: str, fanout: Collection[str] = ()) -> frozenset[str]:
    """The queues to which a message belongs: those into which kombu would put it back."""
    if not exchange:
        return frozenset([key])
    if exchange in fanout:
        return frozenset()
    # Only bindings of a topic exchange have a pattern.
    return frozenset(
        queue
        for bound, pattern, queue in channel.get_table(exchange)
        if (re.match(pattern, key) if pattern else bound == key)
    )


def read(channel: Any, queues: Collection[str], fanout: Collection[str] = ()) -> Json:
    """``queues``: for each name ``ready``, ``unacked`` and their sum ``backlog``; ``unacked`` of all queues together,
    and how many of these belong to none of the named ones, ``elsewhere``.

    Raises :class:`Unknown` for a broker other than Redis, and what the transport raises when it does not answer.
    """
    driver = channel.connection.client.transport.driver_type
    if driver != "redis":
        raise Unknown(f"the backlog of a broker of type {driver!r} is not known")
    import redis

    # Not kombu's own client: that one prefixes some commands, and HSCAN and HVALS are not among them.
    client = redis.Redis(connection_pool=channel.pool)
    prefix = channel.global_keyprefix
    lists = {
        queue: {prefix + channel._q_for_pri(queue, step) for step in channel.priority_steps} for queue in set(queues)
    }
    unacked = prefix + channel.unacked_key
    few = client.hlen(unacked) <= BATCH
    with client.pipeline(transaction=True) as pipe:
        for names in lists.values():
            for name in names:
                pipe.llen(name)
        if few:
            pipe.hvals(unacked)
        answers = iter(pipe.execute())
    found = {queue: {"ready": sum(next(answers) for _name in names), "unacked": 0} for queue, names in lists.items()}
    held = next(answers) if few else (value for _key, value in client.hscan_iter(unacked, count=BATCH))
    home = functools.lru_cache(maxsize=PAIRS)(lambda exchange, key: homes(channel, exchange, key, fanout))
    total = elsewhere = 0
    for value in held:
        _message, exchange, key = json.loads(value)
        mine = [queue for queue in home(exchange or "", key or "") if queue in found]
        for queue in mine:
            found[queue]["unacked"] += 1
        total += 1
        elsewhere += not mine
    for counts in found.values():
        counts["backlog"] = counts["ready"] + counts["unacked"]
    return {"queues": found, "unacked": total, "elsewhere": elsewhere}
