# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread with a connection of its own: it says that this worker lives, and looks after those that do not.

A thread, because a solo worker's only loop is busy for as long as its task runs, and because a worker
that has lost its broker still runs its tasks. A real one in green pools too: what blocks all green
threads is no death. And in this process, not beside it: what stops the worker must stop this as well.

Between two rounds it listens whether a list has changed, and rings.
"""

from __future__ import annotations

import atexit
import collections
import importlib
import os
import sys
import time

import redis
from celery.utils.log import get_logger

from celeryops_probe import letters, poison
from celeryops_probe.doorbell import DISTRUST, REFUSED, Ear
from celeryops_probe.holding import plain_client
from celeryops_probe.ledger import GONE, MOVED, NOT_YET, Ledger

__all__ = ("Keeper", "native")

logger = get_logger(__name__)

# Seconds for the broker to answer this connection
ANSWER = 5.0
# Seconds between two looks at what kombu's own visibility timeout has made overdue, and at dead letters
SELDOM = 10.0
# And between two attempts to listen
LISTEN = 1.0
# Overdue messages that are returned at a time
MOST = 100


def native(module, name):
    """A function of the standard library as it was before a library of green threads replaced it."""
    if "gevent.monkey" in sys.modules:
        return sys.modules["gevent.monkey"].get_original(module, name)
    if "eventlet.patcher" in sys.modules:
        return getattr(sys.modules["eventlet.patcher"].original(module), name)
    return getattr(importlib.import_module(module), name)


class Keeper:
    """Renews every ``interval`` seconds; a worker that is silent for its lease has lost its messages."""

    def __init__(self, app, holding, clock=time.monotonic):
        self.app = app
        self.holding = holding
        self.interval = holding.lease / 6
        self.pid = os.getpid()
        self.clock = clock
        self.todo = collections.deque()
        self.connection = self.client = self.ledger = self.channel = None
        # Since when, without a break, this worker has been heard; and when last
        self.heard_since = self.heard_at = None
        self.seldom_at = self.listen_at = 0.0
        self.leaving_told = False
        self.orphans = set()
        self.problem = ""
        self.dead_letters = 0
        self.ended = False
        holding.later = self.todo.append

    def start(self):
        native("_thread", "start_new_thread")(self._run, ())
        atexit.register(self.leave)

    def _run(self):
        sleep = native("time", "sleep")
        while not self.ended:
            try:
                self.turn()
                self.listen()
                if self.problem:
                    logger.warning("celeryops: the broker answers the keeper again")
                self.problem = ""
            except Exception as exc:  # it must go on, whatever an application's broker and backend raise
                self._lose(exc)
            if self.holding.ear is None:
                sleep(0.25 if self.client else 1.0)

    def _lose(self, exc):
        text = f"{type(exc).__name__}: {exc}"
        if text != self.problem:
            logger.warning("celeryops: the keeper has lost its broker and tries again: %s", text)
        self.problem = text
        self._close_ear()
        connection, self.connection, self.client = self.connection, None, None
        if connection is not None:
            try:
                connection.release()
            except Exception as another:  # of a connection that is given up anyway
                logger.debug("celeryops: closing the keeper's connection: %r", another)

    def _connected(self):
        options = {
            **(self.app.conf.broker_transport_options or {}),
            "socket_timeout": ANSWER,
            "socket_connect_timeout": ANSWER,
        }
        connection = self.app.connection_for_read(transport_options=options)
        connection.ensure_connection(max_retries=1, interval_start=0)
        return connection, connection.channel()

    def _books(self, channel):
        # The pool in which the channel has its one connection already
        client = plain_client(channel, channel.async_pool)
        return Ledger(channel, self.holding.worker, self.holding.lease), client

    def turn(self):
        """One round: what was left to do, and what is due."""
        if self.client is None:
            self.connection, self.channel = self._connected()
            self.ledger, self.client = self._books(self.channel)
            self.heard_since = None
        while self.todo:
            self.todo[0](self.ledger, self.client)
            self.todo.popleft()
        now = self.clock()
        due = self.heard_since is None or now - self.heard_at >= self.interval
        if not due and self.leaving_told == self.holding.leaving:
            return
        self.renew()
        if self.holding.leaving or self.clock() - self.heard_since < 2 * self.interval:
            # After an outage everybody needs a moment to be heard again.
            return
        self.sweep()
        if now >= self.seldom_at:
            self.seldom_at = now + SELDOM
            self.sweep_overdue()
            letters.tell_all(self.app, self.ledger, self.client, self.channel, self.holding.worker)
            self.dead_letters = self.client.hlen(self.ledger.dead)

    # Ringing
    def listen(self):
        """For a quarter of a second, by then there may be other things to do; rings as soon as a list has changed."""
        ear = self.holding.ear
        try:
            if ear is None:
                if not self._open_ear():
                    return
            elif ear.deaf:
                self._close_ear(ear.deaf)
                return
            elif not ear.heard(0.25):
                return
        except Exception as exc:  # the keeper's own connection will tell whether Redis is away
            logger.debug("celeryops: the connection that listens is lost: %r", exc)
            self._close_ear(DISTRUST if ear is None else 0.0)
            return
        if not self.ended:
            # A new ear as well: until now the worker has waited as one that has none.
            self.ledger.ring(self.client)

    def _open_ear(self):
        now = self.clock()
        if now < self.listen_at:
            return False
        self.listen_at = now + LISTEN
        try:
            self.holding.ear = Ear(self.channel.async_pool, self.ledger)
        except redis.ResponseError as exc:
            self.holding.refused(exc)
            self.listen_at = now + REFUSED
        return self.holding.ear is not None

    def _close_ear(self, pause=0.0):
        ear, self.holding.ear = self.holding.ear, None
        self.listen_at = max(self.listen_at, self.clock() + pause)
        if ear is not None:
            ear.close()

    # Renewing
    def renew(self):
        entries = list(self.holding.messages.items())
        leaving = self.holding.leaving
        total, lost = self.ledger.renew(self.client, [tag for tag, _message in entries], leaving)
        self.leaving_told = leaving
        now = self.clock()
        if self.heard_since is None or now - self.heard_at > 3 * self.interval:
            self.heard_since = now
        self.heard_at = now
        by_tag = dict(entries)
        for tag in lost:
            # What ended meanwhile is no loss.
            if self.holding.messages.get(tag) is by_tag[tag]:
                del self.holding.messages[tag]
                logger.warning("celeryops: message %s was taken over, this worker had been silent for too long", tag)
        if total > len(entries) - len(lost):
            self._return_orphans()
        else:
            self.orphans = set()

    def _return_orphans(self):
        """Messages that Redis gave to us by a connection that broke before we had them."""
        held = self.ledger.holding(self.client, self.holding.worker)
        unknown = {
            tag for tag, note in held.items() if tag not in self.holding.messages and note["via"] != self.holding.via
        }
        for tag in unknown & self.orphans:
            self._return(self.holding.worker, tag, held[tag], None, None)
        self.orphans = unknown - self.orphans

    # Looking after others
    def sweep(self):
        """Return what workers held that fell silent."""
        for worker in self.ledger.silent(self.client):
            if worker != self.holding.worker:
                self._take_over(worker)

    def _take_over(self, worker):
        held = self.ledger.holding(self.client, worker)
        leaving = self.ledger.is_leaving(self.client, worker)
        running = {
            tag: self.ledger.history(self.client, tag)
            for tag, note in held.items()
            if "started" in note and not leaving
        }
        killed = poison.judge(running)
        how = "the worker died, or was silent for longer than its lease"
        moved = 0
        for tag, note in held.items():
            death = history = None
            if tag in running:
                death = poison.death(worker, how, killed[tag], beside=len(running) - 1)
                history = [*running[tag], death]
            outcome = self._return(worker, tag, note, death, history, holder=worker)
            if outcome == NOT_YET:
                # It is back.
                return
            moved += outcome == MOVED
        if self.ledger.forget(self.client, worker) and held:
            logger.warning("celeryops: %s is silent: %d of its messages are delivered again", worker, moved)

    def _return(self, worker, tag, note, death, history, holder=None):
        raw = self.ledger.message(self.client, tag)
        if raw is None:
            self.client.hdel(self.ledger.held(worker), tag)
            return GONE
        if history and poison.kills(history) > self.holding.limit:
            return self.holding.bury(self.ledger, self.client, tag, raw, note, history, holder=holder)
        outcome = self.ledger.put_back(self.client, tag, raw, note, death=death, holder=holder)
        if outcome == MOVED:
            self.holding.returned["worker_lost" if holder else "handed_back"] += 1
        return outcome

    def sweep_overdue(self):
        """Messages of workers without this code come back by kombu's visibility timeout, as ever."""
        limit = time.time() - self.channel.visibility_timeout
        overdue = self.client.zrangebyscore(self.ledger.index, 0, limit, start=0, num=MOST)
        workers = self.client.zrange(self.ledger.workers, 0, -1) if overdue else []
        for tag in (each.decode() for each in overdue):
            if not any(self.client.hexists(self.ledger.held(worker.decode()), tag) for worker in workers):
                self.channel.qos.restore_by_tag(tag)

    # Leaving
    def leave(self):
        """At the end of the process: finish what was left, and be forgotten when nothing is held."""
        if os.getpid() != self.pid or self.ended:
            return
        self.ended = True
        try:
            connection, channel = self._connected()
            ledger, client = self._books(channel)
            while self.todo:
                self.todo.popleft()(ledger, client)
            ledger.forget(client, self.holding.worker)
            connection.release()
        except Exception as exc:  # the broker is away: silence tells the others
            logger.warning("celeryops: could not say goodbye: %s", exc)
