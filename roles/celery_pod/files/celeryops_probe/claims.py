# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A due time is claimed in the broker before its task is sent, and sent by the same step that confirms it.

The broker is Redis, reached as the application reaches it. Each entry has one key there, which says what it was sent
for last. Three scripts read and write it, and Redis runs each as a whole:

- *begin*: a beat that was elected takes the next number, and whatever an earlier one still tries is refused.
- *claim*: granted unless the entry was sent since the last run from which the due time follows. The last run comes from
  the scheduler, which may have read it long ago, or have failed to write it.
- *send*: puts the message into its queue and notes that it is there, if the claim still stands.

So a claim without a note was certainly not sent, whoever made it and whenever it died or was stopped, and whoever acts
next may send it. And a message whose acknowledgement was lost with the connection is not put into its queue again.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
import uuid
from dataclasses import dataclass

from celery.utils.log import get_logger
from kombu.exceptions import KombuError

__all__ = ("Claim", "ClaimError", "Claims", "ClaimsRefused", "Fenced", "NotSent", "Record", "open_claims")

logger = get_logger(__name__)

# How long an entry's key is kept after its last use, in seconds: for those that come once, and for all others.
ONCE, KEPT = 86400, 35 * 86400
BEGIN = "return redis.call('INCR', KEYS[1])"
CLAIM = """
local epoch, since, due, at, token, holder, runs, missed, ttl = unpack(ARGV)
if epoch ~= '' and redis.call('GET', KEYS[2]) ~= epoch then return {'fenced'} end
local old = redis.call('HMGET', KEYS[1], 'due', 'at', 'sent', 'holder', 'runs', 'since')
-- A thousandth of a second is what a float loses on its way through a database.
if old[3] == '1' and tonumber(old[2]) > tonumber(since) + 0.001 then
  return {'sent', unpack(old)}
end
if not (old[3] == '0' and old[1] == due) then
  if tonumber(missed) > 0 then
    redis.call('HINCRBY', KEYS[1], 'missed', missed)
    redis.call('HSET', KEYS[1], 'missed_at', at)
  end
  if old[3] == '0' then redis.call('HINCRBY', KEYS[1], 'unsent', 1) end
end
redis.call('HSET', KEYS[1], 'due', due, 'at', at, 'since', since, 'runs', runs)
redis.call('HSET', KEYS[1], 'token', token, 'holder', holder, 'sent', '0')
redis.call('EXPIRE', KEYS[1], ttl)
return {'claimed', unpack(old)}
"""
SEND = """
local epoch, token, command, message = unpack(ARGV)
if epoch ~= '' and redis.call('GET', KEYS[2]) ~= epoch then return 'another beat was elected' end
local found = redis.call('HMGET', KEYS[1], 'token', 'sent')
if found[1] ~= token then return 'another beat claimed it' end
if found[2] ~= '1' then
  if command ~= '' then redis.call(command, KEYS[3], message) end
  redis.call('HSET', KEYS[1], 'sent', '1')
end
return ''
"""
FIELDS = ("due", "at", "sent", "holder", "runs", "since")


class ClaimError(Exception):
    """The store was not reached, or refused."""


class ClaimsRefused(ClaimError):
    """The store never will: its user may run no scripts."""


class Fenced(ClaimError):
    """Another beat was elected after this one, or the store has lost what it knew."""


class NotSent(Exception):
    """The message was held back at the last moment."""


@dataclass(frozen=True)
class Record:
    """What an entry was claimed for last, and from which last run that followed; times in seconds since 1970."""

    due: float
    at: float
    sent: bool
    holder: str
    runs: int
    since: float


@dataclass(frozen=True)
class Claim:
    """A due time that is this beat's to send. ``before`` is the claim that was there, if any."""

    key: str
    token: str
    due: float
    before: Record | None


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _record(values):
    due, at, sent, holder, runs, since = map(_text, values)
    if due is None:
        return None
    return Record(float(due), float(at), sent == "1", holder, int(runs), float(since))


class Claims:
    """The claims of one application in its own broker."""

    def __init__(self, app, holder, elected):
        self.app = app
        self.holder = holder
        self.elected = elected
        self.epoch = ""
        self.connection = self.channel = None

    def begin(self):
        """This beat acts from now on, and none that acted before."""
        if self.elected:
            self.epoch = str(self._run(BEGIN, [self.key("", "epoch")]))

    def records(self, names):
        """What is known of these entries, in their order: a Record or None each."""
        with self._reached() as (client, prefix):
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.hmget(prefix + self.key(name), FIELDS)
            return [_record(values) for values in pipeline.execute()]

    def claim(self, name, since, due, runs, missed=0, once=False):
        """A Claim, or the Record of a run that is newer than ``since``."""
        token = uuid.uuid4().hex
        # Never before the due time, be the clock of whoever sends next behind or not.
        at = round(max(time.time(), due), 6)
        values = [self.epoch, since, due, at, token, self.holder, runs, missed, ONCE if once else KEPT]
        told, *old = self._run(CLAIM, [self.key(name), self.key("", "epoch")], *values)
        told = _text(told)
        if told == "fenced":
            raise Fenced("another beat was elected, or the broker has lost its data")
        before = _record(old)
        return before if told == "sent" else Claim(self.key(name), token, due, before)

    @contextlib.contextmanager
    def sending(self, claim, allowed):
        """The first message in here goes with the claim's note. ``allowed`` is asked right before."""
        sending = _Sending(claim, self.epoch, self.key("", "epoch"), allowed)
        before = _sending.set(sending)
        try:
            yield
        finally:
            _sending.reset(before)
        if not sending.done:
            # The application put it elsewhere, or ran it by itself: what is left is to note it.
            refused = self._run(SEND, [claim.key, self.key("", "epoch"), ""], self.epoch, claim.token, "", "")
            if refused:
                logger.warning("beat: a task went another way than to the broker, and %s", _text(refused))

    def key(self, name, kind="claim"):
        return f"celeryops:beat:{self.app.main or ''}:{kind}:{name}"

    def _run(self, script, keys, *values):
        with self._reached() as (client, prefix):
            return client.eval(script, len(keys), *(prefix + key for key in keys), *values)

    @contextlib.contextmanager
    def _reached(self):
        try:
            if self.channel is None:
                self.connection = self.app.connection_for_write()
                self.channel = self.connection.channel()
            yield _bare(self.channel)
        except (OSError, KombuError, *_errors()) as problem:
            self.close()
            text = f"{type(problem).__name__}: {problem}"
            never = any(word in text for word in ("NOPERM", "no permissions", "unknown command"))
            raise (ClaimsRefused if never else ClaimError)(text) from problem

    def close(self):
        """The next use connects anew."""
        connection, self.connection, self.channel = self.connection, None, None
        if connection is not None:
            with contextlib.suppress(OSError, KombuError, *_errors()):
                connection.release()


def _errors():
    from redis.exceptions import RedisError  # noqa: PLC0415  it is there where the broker is Redis

    return (RedisError,)


def _bare(channel):
    """A client of the channel's own server, and the prefix of its keys: kombu prefixes no keys of scripts."""
    from redis import Redis  # noqa: PLC0415

    return Redis(connection_pool=channel.pool), channel.global_keyprefix or ""


_sending: contextvars.ContextVar = contextvars.ContextVar("celeryops_sending", default=None)


@dataclass
class _Sending:
    claim: Claim
    epoch: str
    epoch_key: str
    allowed: object
    done: bool = False

    def write(self, channel, command, key, message):
        if not self.allowed():
            raise NotSent("this beat does not act any more")
        client, prefix = _bare(channel)
        keys = [prefix + self.claim.key, prefix + self.epoch_key, prefix + key]
        refused = client.eval(SEND, len(keys), *keys, self.epoch, self.claim.token, command, message)
        if refused:
            raise NotSent(_text(refused))
        self.done = True


class _Client:
    """kombu's client while a claimed task is sent: its first message goes by the script."""

    def __init__(self, client, channel, sending):
        self._given, self._channel, self._sending = client, channel, sending

    def __getattr__(self, name):
        return getattr(self._given, name)

    def lpush(self, key, *messages):
        if self._sending.done or len(messages) != 1:
            return self._given.lpush(key, *messages)
        return self._sending.write(self._channel, "LPUSH", key, *messages)

    def publish(self, key, message, **options):
        if self._sending.done:
            return self._given.publish(key, message, **options)
        return self._sending.write(self._channel, "PUBLISH", key, message)


def _guard(channel_class):
    """Lets every channel of this process send claimed tasks by the script, also one that replaces a lost one."""
    acquire = channel_class.conn_or_acquire

    @contextlib.contextmanager
    def conn_or_acquire(self, client=None):
        sending = _sending.get()
        with acquire(self, client) as found:
            yield found if sending is None else _Client(found, self, sending)

    channel_class.conn_or_acquire = conn_or_acquire


def open_claims(app, holder, elected):
    """The claims; None where the broker cannot keep them, with the reason in the log."""
    transport = app.connection_for_write().transport
    if transport.driver_type != "redis":
        logger.warning(
            "beat: due times are not claimed: expected a broker that is Redis, found %s", transport.driver_type
        )
        return None
    _guard(transport.Channel)
    return Claims(app, holder, elected)
