# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""An idle worker is woken by the message, not by asking for one again and again.

The script that fetches cannot wait, and what waits (``BRPOP``) takes a message without a word about who has
it. So an idle worker waits at a list of its own, its doorbell, and somebody must ring. Redis itself tells
who should: since version 6 it remembers which keys a connection has read, and says once that one of them
has changed (``CLIENT TRACKING``). The script that finds all lists empty has just read them, so nothing can
come in between unseen. While there is work nothing is remembered and nothing is told.

Redis tells it to a connection of the keeper's, the ear, and the keeper rings. Where Redis, a proxy or the
user's rights do not allow this, and as long as there is no ear, the worker asks every ``pause`` seconds.
"""

from __future__ import annotations

import time
import uuid

import redis
from celery.utils.log import get_logger

__all__ = ("DISTRUST", "REFUSED", "Doorbell", "Ear")

logger = get_logger(__name__)

INVALIDATE = "__redis__:invalidate"
# Seconds between two signs of life on a connection that may have nothing to say for hours
SIGN = 5.0
# For how long nobody listens after nothing was heard that should have been; and where Redis has refused it
DISTRUST = 5.0
REFUSED = 300.0
# Where the doorbell is rung, asking is only for what went wrong with that: so many times as seldom.
SELDOM = 5
# What only the pool of connections and RESP3 have to do with
FOREIGN = ("protocol", "maint_", "oss_cluster_", "orig_", "event_dispatcher", "health_check_interval")


class Ear:
    """A connection to which Redis says which of the lists has changed. In the keeper's thread, but for ``deaf``."""

    def __init__(self, pool, ledger, clock=time.monotonic):
        self.name = f"{ledger.prefix}celeryops:ear:{uuid.uuid4().hex}"
        # Redis 6 counts every key of the script as read.
        self.besides = {name.encode() for name in (ledger.unacked, ledger.index, ledger.workers, ledger.mine)}
        self.clock = clock
        self.told_at = clock()
        self.waits = False
        # By the consumer, when nothing is heard by it: seconds for which there need be no other
        self.deaf = 0.0
        options = {name: value for name, value in pool.connection_kwargs.items() if not name.startswith(FOREIGN)}
        try:
            self.connection = pool.connection_class(protocol=2, **options)
        except TypeError:
            # redis-py 4 knows no other protocol.
            self.connection = pool.connection_class(**options)
        try:
            self.connection.connect()
            self.number = _ask(self.connection, "CLIENT", "ID")
            _ask(self.connection, "SUBSCRIBE", INVALIDATE, self.name)
            self.connection.read_response()
        except Exception:
            self.close()
            raise

    def heard(self, seconds):
        """True as soon as a list has changed, False after so many seconds. Raises when the connection is lost."""
        end = self.clock() + seconds
        heard = False
        while self.connection.can_read(timeout=0 if heard else max(0.0, end - self.clock())):
            message = self.connection.read_response()
            # What is no message answers the sign of life. Without keys: everything was flushed.
            if bytes(message[0]) == b"message":
                heard = heard or message[2] is None or not self.besides.issuperset(message[2])
            else:
                self.waits = False
            if self.clock() >= end:
                break
        self._sign()
        return heard

    def _sign(self):
        if self.clock() - self.told_at < SIGN:
            return
        if self.waits:
            raise redis.ConnectionError("no answer to the last sign of life")
        self.told_at, self.waits = self.clock(), True
        self.connection.send_command("PING")

    def close(self):
        self.connection.disconnect()


class Doorbell:
    """What one channel asks beside its script, so that its next message rings."""

    def __init__(self, holding, name, pause):
        self.holding = holding
        self.name = name
        self.pause = pause
        # The ear that Redis was asked to tell about this connection's keys
        self.tried = None
        # How often in a row there was nothing; whether the last time Redis remembered it
        self.empty = 0
        self.armed = False
        self.asked = []

    def commands(self, connection, fetch):
        """The script, and what must be asked along with it."""
        ear = self.holding.ear
        if self.empty and ear is not None and ear is not self.tried:
            self.tried = ear
            self._attach(connection, ear)
            self.armed, self.empty = False, 1
        attached = ear is not None and not ear.deaf
        self.asked = ["fetch"]
        commands = [fetch]
        if self.empty and attached:
            self.asked.insert(0, "arm")
            commands.insert(0, ("CLIENT", "CACHING", "YES"))
        self.armed = self.armed and attached
        # The first time that there is nothing Redis did not remember it: no waiting before it does.
        if self.armed or self.empty > attached:
            self.asked.insert(0, "wait")
            commands.insert(0, ("BRPOP", self.name, self.pause * (SELDOM if self.armed else 1)))
        return commands

    def answer(self, connection):
        """Reads all the answers; that of the script. kombu reads as well when nothing was asked."""
        if not self.asked:
            return None
        answers = {}
        while self.asked:
            what = self.asked.pop(0)
            try:
                answers[what] = connection.read_response()
            except redis.ResponseError:
                if what != "arm":
                    raise
                # The connection was made anew, and Redis knows nothing about this one.
                self.tried.deaf = DISTRUST
        found = answers["fetch"]
        if found and self.armed and answers["wait"] is None:
            # It came, and nobody has rung.
            self.tried.deaf = DISTRUST
        self.empty = 0 if found else self.empty + 1
        self.armed = not found and "arm" in answers
        return found

    def _attach(self, connection, ear):
        """Have Redis tell the ear. It must be there, by its name: another server may know its number as another's."""
        deaf = DISTRUST
        try:
            receivers = _ask(connection, "PUBSUB", "NUMSUB", ear.name)
            if isinstance(receivers, list) and receivers[1:] == [1]:
                _ask(connection, "CLIENT", "TRACKING", "ON", "REDIRECT", ear.number, "OPTIN", "NOLOOP")
                _ask(connection, "CLIENT", "CACHING", "YES")
                deaf = 0.0
        except redis.ResponseError as exc:
            self.holding.refused(exc)
            deaf = REFUSED
        # Said once it is known: the keeper closes what is deaf.
        ear.deaf = deaf


def _ask(connection, *words):
    connection.send_command(*words)
    return connection.read_response()
