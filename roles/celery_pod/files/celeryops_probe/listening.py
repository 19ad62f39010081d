# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether remote control still listens.

redis-py makes a subscription's connection anew by itself, for instance when its sign of life fails. kombu goes on
waiting at the socket of before, or takes it out of the event loop and waits for an error that nobody raises: such a
worker may go on consuming, and answers no ping nor any other command for as long as it lives.
"""

from __future__ import annotations

import select

__all__ = ("listens",)


def listens(connection):
    """Whether kombu waits where a worker's subscriptions are. True as well where there is nothing of the kind."""
    cycle = getattr(connection.transport, "cycle", None)
    watched = getattr(cycle, "_chan_to_sock", None)
    if watched is None:
        return True
    for channel in list(cycle._channels):
        client = channel.__dict__.get("subclient")
        sock = getattr(getattr(client, "connection", None), "_sock", None)
        known = watched.get((channel, client, "LISTEN"))
        if sock is not None and known is not None and (known is not sock or _has_ended(sock)):
            return False
    return True


def _has_ended(sock):
    """Whether the other side has closed it, without reading and without waiting."""
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))
