# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The messages that this worker process holds, from the broker's list to the acknowledgement.

Everything goes through the hands of kombu's own channel: how it asks for messages (``Fetcher``) and
how it acknowledges and returns them (``HeldQoS``). What cannot be done for want of a connection is
left to the keeper, which has one of its own and does it as soon as Redis is there again.
"""

from __future__ import annotations

import itertools
import json
import time

import redis
from celery.utils.log import get_logger
from kombu.transport import redis as transport
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads

from celeryops_probe import poison
from celeryops_probe.doorbell import Doorbell
from celeryops_probe.ledger import DRILL, MOVED, Ledger

__all__ = ("ALONE", "NO", "YES", "Fetcher", "HeldQoS", "Holding", "plain_client")

logger = get_logger(__name__)

# May a task start? ALONE: later, when no other task that is under suspicion runs in this process.
YES, NO, ALONE = "yes", "no", "alone"

_serial = itertools.count(1)


def plain_client(channel, pool=None):
    """A client of the channel's connections that adds no prefix of its own: the ledger's names have it."""
    return redis.Redis(connection_pool=pool or channel.pool)


class Held:
    """One message in hand. ``via`` numbers the channel that it came by."""

    __slots__ = ("cause", "deaths", "message", "note", "request", "started")

    def __init__(self, source, via):
        self.note = {"list": source, "via": via}
        self.message = self.request = self.cause = None
        self.started = False
        self.deaths = 0

    def is_running(self, prefork):
        """Will its task come to an end here, connection or not?"""
        request = self.request
        if not self.started or getattr(request, "_already_cancelled", False):
            return False
        # A prefork pool that is flushed forgets what no child has accepted yet; other pools forget nothing.
        return not prefork or request.time_start is not None


class Holding:
    """The register of this process. One thread consumes, another renews; each step is one operation on a dict."""

    def __init__(self, worker, lease, limit):
        self.worker = worker
        self.lease = lease
        self.limit = limit
        self.leaving = False
        self.prefork = False
        self.via = 0
        self.messages = {}
        self.later = None
        self.returned = {"worker_lost": 0, "child_lost": 0, "handed_back": 0}
        self.buried = 0
        # The connection to which Redis tells what has changed; whether it was said that it does not
        self.ear = None
        self.refusal_told = False

    # Receiving
    def expect(self, tag, source):
        """Redis has given us this one; it comes to ``received`` next."""
        self.messages[tag] = Held(source, self.via)

    def received(self, message, tag):
        """Is it one that was fetched by our own way?"""
        entry = self.messages.get(tag)
        if entry is None:
            return False
        entry.message = message
        return True

    def delivered(self, ledger, client, tag):
        """kombu is through with it. A message for which there was no consumer went back by another channel."""
        entry = self.messages.get(tag)
        if entry is not None and entry.message is None:
            del self.messages[tag]
            ledger.forget_message(client, tag)

    # Running
    def may_start(self, request):
        """Write down that the task starts now. NO: another worker has taken the message over."""
        message = request.message
        fetcher = getattr(message.channel, "celeryops", None)
        if fetcher is None:
            return YES
        tag = message.delivery_tag
        entry = self.messages.get(tag)
        if entry is None or entry.message is not message:
            return NO
        entry.request = request
        note = {**entry.note, "id": request.id, "task": request.name, "started": round(time.time(), 3)}
        client = plain_client(message.channel)
        try:
            if self._suspects(entry) and poison.is_suspect(fetcher.ledger.history(client, tag)):
                return ALONE
            deaths = fetcher.ledger.start(client, tag, note)
        except Exception as exc:  # whatever a client without a connection raises
            logger.warning("celeryops: the start of %s[%s] is not recorded yet: %s", request.name, request.id, exc)
            self.later(lambda ledger, own: ledger.start(own, tag, note))
            deaths = 0
        if deaths is None:
            self.messages.pop(tag, None)
            return NO
        entry.deaths = deaths
        entry.started = True
        return YES

    def _suspects(self, besides):
        return [
            each
            for each in list(self.messages.values())
            if each is not besides and each.started and each.deaths >= poison.SUSPICIONS
        ]

    def lost_process(self, request, exc):
        """The process that ran the task died: the reason for what is rejected next."""
        entry = self.messages.get(request.message.delivery_tag)
        # A worker that stops ends its processes itself.
        if entry is not None and entry.message is request.message and not self.leaving:
            entry.cause = str(exc)

    # Ending
    def finish(self, ledger, client, tag):
        entry = self.messages.pop(tag, None)
        self._now_or_later(ledger, client, lambda books, own: books.finish(own, tag))
        run = entry is not None and entry.started and entry.request.request_dict.get(DRILL)
        if run:
            task = entry.request.id
            self._now_or_later(ledger, client, lambda books, own: books.note(own, run, task, "ended"))

    def give_back(self, ledger, client, tag, last=False):
        """Return a message; nothing happens when it was taken over."""
        entry = self.messages.pop(tag, None)
        if entry is not None:
            self._now_or_later(ledger, client, lambda books, own: self._give_back(books, own, tag, entry, last))

    def refused(self, exc):
        """Redis, or a proxy before it, does not tell this user what has changed."""
        if not self.refusal_told:
            self.refusal_told = True
            logger.warning("celeryops: this worker asks for messages when idle, Redis does not tell it: %s", exc)

    def connection_lost(self):
        """Celery forgets what it had not started. Running tasks go on, and are acknowledged in time."""
        self.via = 0
        for tag, entry in list(self.messages.items()):
            if not entry.is_running(self.prefork):
                self.give_back(None, None, tag)

    def _now_or_later(self, ledger, client, action):
        if client is not None:
            try:
                action(ledger, client)
                return
            except Exception as exc:  # whatever a client without a connection raises
                logger.warning("celeryops: left until the broker is there again: %s", exc)
        self.later(action)

    def _give_back(self, ledger, client, tag, entry, last):
        raw = ledger.message(client, tag)
        if raw is None:
            ledger.forget_message(client, tag)
            return
        death = history = None
        if entry.cause is not None:
            death = poison.death(self.worker, entry.cause, killed=True)
            history = [*ledger.history(client, tag), death]
        if history and poison.kills(history) > self.limit:
            self.bury(ledger, client, tag, raw, entry.note, history)
        elif ledger.put_back(client, tag, raw, entry.note, last=last, death=death) == MOVED:
            self.returned["child_lost" if death else "handed_back"] += 1

    def bury(self, ledger, client, tag, raw, note, history, holder=None):
        """Put a message to the dead letters."""
        headers = json.loads(raw)[0].get("headers") or {}
        letter = {
            "id": headers.get("id"),
            "task": headers.get("task"),
            "list": note["list"],
            "buried": history[-1]["when"],
            "worker": self.worker,
            "exception": f"WorkerLostError: {history[-1]['how']}",
            "history": history,
            "message": raw,
        }
        moved = ledger.bury(client, tag, raw, letter, holder=holder)
        if moved == MOVED:
            self.buried += 1
            logger.error(
                "Task %s[%s] is a dead letter: it killed its process %d times, last: %s",
                letter["task"],
                letter["id"],
                poison.kills(history),
                history[-1]["how"],
            )
        return moved


class HeldQoS(transport.QoS):
    """kombu's bookkeeping of a channel, with the ledger in place of its own two keys.

    The channel of a connection that was lost has no clients any more: what its messages still need, the
    keeper does.
    """

    @property
    def fetcher(self):
        return self.channel.celeryops

    def append(self, message, delivery_tag):
        if self.fetcher.holding.received(message, delivery_tag):
            # Already written down, by the script that fetched it.
            virtual.QoS.append(self, message, delivery_tag)
        else:
            self.fetcher.foreign.add(delivery_tag)
            super().append(message, delivery_tag)

    def ack(self, delivery_tag):
        self.fetcher.finish(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag, requeue=False):
        if not requeue:
            self.fetcher.finish(delivery_tag)
        elif delivery_tag in self.fetcher.foreign:
            self.restore_by_tag(delivery_tag, leftmost=True)
        else:
            self.fetcher.give_back(delivery_tag, last=True)
        virtual.QoS.ack(self, delivery_tag)

    def restore_unacked(self, client=None):
        """The channel closes: at the end of the worker, or because its connection was lost."""
        holding = self.fetcher.holding
        for tag in list(self._delivered):
            entry = holding.messages.get(tag)
            if tag in self.fetcher.foreign:
                self.restore_by_tag(tag, client=client)
            elif entry is not None and (holding.leaving or not entry.is_running(holding.prefork)):
                self.fetcher.give_back(tag)
        self._delivered.clear()

    def restore_visible(self, *_args, **_options):
        """The keeper looks for abandoned messages."""


class Fetcher:
    """Asks for messages in place of a channel's BRPOP.

    The script takes the next message from the same lists in the same order. It cannot wait for one, so
    an idle worker waits at its doorbell.
    """

    def __init__(self, channel, holding, pause):
        self.channel = channel
        self.holding = holding
        self.ledger = Ledger(channel, holding.worker, holding.lease)
        self.doorbell = Doorbell(holding, self.ledger.doorbell, pause)
        self.via = holding.via = next(_serial)
        # Messages that came to this channel by kombu's own way
        self.foreign = set()
        self.read_before = None

    def install(self):
        """For this channel only, and before it consumes."""
        channel = self.channel
        channel.celeryops = self
        # The object stays: Celery may have put a method of its own on it.
        channel.qos.__class__ = HeldQoS
        if channel._in_poll:
            # mingle has asked on this channel, and leaves the answer to whoever reads next.
            self.read_before = channel._brpop_read
        channel._brpop_start, channel._brpop_read = self.start, self.read
        channel.handlers["BRPOP"] = self.read

    # Asking
    def start(self, timeout=None):
        channel = self.channel
        queues = channel._queue_cycle.consume(len(channel.active_queues))
        if not queues:
            return
        lists = [channel._q_for_pri(queue, priority) for priority in channel.priority_steps for queue in queues]
        connection = channel._in_poll = channel.client.connection
        commands = self.doorbell.commands(connection, self.ledger.fetch_command(lists, self.via))
        # kombu 5.7 looks for answers that are overdue.
        channel._brpop_sent_at = time.monotonic()
        connection.send_packed_command(connection.pack_commands(commands))

    def read(self, **options):
        if self.read_before:
            read, self.read_before = self.read_before, None
            return read(**options)
        channel = self.channel
        connection = channel.client.connection
        try:
            try:
                answer = self.doorbell.answer(connection)
            except Exception:
                # The next answer would be taken for another one's.
                connection.disconnect()
                raise
        finally:
            channel._in_poll = None
            # A token that kombu 5.7 was given while the connection was in use
            getattr(channel, "_flush_brpop_reauth", bool)()
        if not answer:
            raise transport.Empty
        source, raw = (bytes_to_str(each) for each in answer)
        self._deliver(source, loads(raw))
        return True

    def _deliver(self, source, payload):
        channel = self.channel
        tag = payload["properties"]["delivery_tag"]
        self.holding.expect(tag, source)
        queue = source[len(self.ledger.prefix) :].rsplit(channel.sep, 1)[0]
        channel._queue_cycle.rotate(queue)
        channel.connection._deliver(payload, queue)
        self.holding.delivered(self.ledger, plain_client(channel), tag)

    # Ending
    def finish(self, tag):
        self.foreign.discard(tag)
        self.holding.finish(self.ledger, self._client(), tag)

    def give_back(self, tag, last=False):
        self.holding.give_back(self.ledger, self._client(), tag, last)

    def _client(self):
        """None when the connection of this channel was lost."""
        return plain_client(self.channel) if self.via == self.holding.via and self.channel.connection else None
