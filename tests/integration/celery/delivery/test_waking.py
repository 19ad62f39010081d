# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An idle worker is woken by its message. Workers here would ask for the next one in an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis as client_library
from celery_running import FILES, PASSWORD, QUOTED, Redis
from delivery_running import Book, Worker, send
from helpers.servers import wait_until

pytestmark = pytest.mark.slow

Fleet = Callable[..., Worker]
# Seldom: what a worker has not been told it does not find. Its answers are evidence of consuming for longer, too.
SELDOM = {"CELERYOPS_POLL": "3600", "CELERYOPS_INTERVAL": "5"}
# As the real one it looks before it takes: looking is what Redis remembers.
FETCH = "local found = redis.call('LINDEX', KEYS[1], -1) if found then redis.call('RPOP', KEYS[1]) end return found"


def idle(book: Book, ears: set[str] | None = None) -> list[dict[str, str]]:
    """Connections that wait at a doorbell while Redis tells an ear, one not among `ears`, about their lists."""
    return [
        client
        for client in book.client.client_list()
        if client["cmd"] == "brpop" and {"b", "t"} <= set(client["flags"]) and client["redir"] not in (ears or set())
    ]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "gevent", "eventlet"])
def test_message_wakes_an_idle_worker(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    fleet("first", f"--pool={pool}", **SELDOM)
    for queue, priority in (("a", 0), ("b", 7), ("a", 3)):
        wait_until(lambda: idle(book), "an idle worker")
        book.wait_finished(send(kept, "work", 0, queue=queue, priority=priority))


def test_message_wakes_a_worker_with_a_prefix(fleet: Fleet, kept: Any, book: Book) -> None:
    kept.conf.broker_transport_options = {**kept.conf.broker_transport_options, "global_keyprefix": "shop:"}
    fleet("first", KEPT_OPTIONS='{"global_keyprefix": "shop:"}', **SELDOM)
    wait_until(lambda: idle(book), "an idle worker")
    book.wait_finished(send(kept, "work", 0))


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_what_mingle_has_asked_is_not_taken_for_an_answer(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    """It asks by kombu's own way on the channel that the tasks come by, and does not wait for the answer."""
    fleet("first", f"--pool={pool}", mingle=True, **SELDOM)
    for _ in range(3):
        wait_until(lambda: idle(book), "an idle worker")
        book.wait_finished(send(kept, "work", 0))


def test_every_idle_worker_is_woken(fleet: Fleet, kept: Any, book: Book) -> None:
    """As many tasks at once as there are workers for them: none waits behind another."""
    for name in ("first", "second", "third"):
        fleet(name, "--pool=solo", "--prefetch-multiplier=1", **SELDOM)
    wait_until(lambda: len(idle(book)) == 3, "three idle workers")
    tasks = [send(kept, "work", 20) for _ in range(3)]
    book.wait_started(*tasks)
    assert {book.on(task) for task in tasks} == {"first", "second", "third"}


def test_lost_ear_is_replaced(fleet: Fleet, kept: Any, book: Book) -> None:
    """What comes while there is none is found as well."""
    fleet("first", **SELDOM)
    wait_until(lambda: idle(book), "an idle worker")
    old = idle(book)[0]["redir"]
    book.client.client_kill_filter(_id=old)
    book.wait_finished(send(kept, "work", 0))
    wait_until(lambda: idle(book, {old}), "a worker with another ear")
    book.wait_finished(send(kept, "work", 0))


def test_worker_whose_connections_are_all_cut_is_woken_again(fleet: Fleet, kept: Any, book: Book) -> None:
    """As a Sentinel does it to a master that is none any more."""
    fleet("first", **SELDOM)
    wait_until(lambda: idle(book), "an idle worker")
    old = idle(book)[0]["redir"]
    for kind in ("pubsub", "normal"):
        book.client.client_kill_filter(_type=kind, skipme=True)
    wait_until(lambda: idle(book, {old}), "a worker with another ear")
    book.wait_finished(send(kept, "work", 0))


@pytest.mark.parametrize("right", ["client|tracking", "client|caching", "client", "pubsub"])
def test_without_the_right_to_it_the_worker_asks(fleet: Fleet, kept: Any, book: Book, redis: Redis, right: str) -> None:
    rules = ["on", f">{PASSWORD}", "~*", "&*", "+@all", f"-{right}"]
    book.client.execute_command("ACL", "SETUSER", "shop", *rules)
    first = fleet("first", KEPT_URL=redis.url.replace(f":{QUOTED}", f"shop:{QUOTED}"))
    for _ in range(3):
        book.wait_finished(send(kept, "work", 0))
    wait_until(lambda: "asks for messages when idle" in first.log, "a word about it")
    assert first.log.count("asks for messages when idle") == 1


# One connection by itself


class Consumer:
    """A channel's connection and its doorbell, without a worker around them."""

    def __init__(self, doorbell: Any, server: Redis, ear: Any) -> None:
        self.refusals: list[Exception] = []
        self.holding = SimpleNamespace(ear=ear, refused=self.refusals.append)
        self.doorbell = doorbell.Doorbell(self.holding, "bell", 0.01)
        self.connection = client_library.Connection(host="127.0.0.1", port=server.port, password=PASSWORD)

    def turn(self) -> Any:
        commands = self.doorbell.commands(self.connection, ("EVAL", FETCH, "1", "list"))
        self.connection.send_packed_command(self.connection.pack_commands(commands))
        return self.doorbell.answer(self.connection)


@pytest.fixture
def doorbell(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FILES))
    import celeryops_probe.doorbell

    return celeryops_probe.doorbell


@pytest.fixture
def listen(doorbell: Any) -> Iterator[Callable[[Redis], Any]]:
    """An ear at a server; nobody rings."""
    ears = []

    def at(server: Redis) -> Any:
        pool = client_library.ConnectionPool(host="127.0.0.1", port=server.port, password=PASSWORD)
        ledger = SimpleNamespace(prefix="", unacked="unacked", index="index", workers="workers", mine="mine")
        ears.append(doorbell.Ear(pool, ledger))
        return ears[-1]

    yield at
    for ear in ears:
        ear.close()


def test_ear_hears_what_came_to_an_empty_list(redis: Redis, book: Book, doorbell: Any, listen: Any) -> None:
    ear = listen(redis)
    consumer = Consumer(doorbell, redis, ear)
    consumer.turn()
    assert consumer.turn() is None
    assert not ear.heard(0)
    book.client.lpush("list", "message")
    assert ear.heard(10)
    book.client.lpush("list", "another, of which nothing is said as nobody has looked again")
    assert not ear.heard(0)


def test_reading_when_nothing_was_asked_finds_nothing(redis: Redis, book: Book, doorbell: Any, listen: Any) -> None:
    consumer = Consumer(doorbell, redis, listen(redis))
    assert consumer.doorbell.answer(consumer.connection) is None
    consumer.turn()
    consumer.turn()
    assert consumer.doorbell.answer(consumer.connection) is None
    book.client.lpush("list", "message")
    book.client.lpush("bell", "")
    assert consumer.turn() == b"message"
    assert not consumer.holding.ear.deaf


def test_ear_at_another_server_is_not_told_of(redis: Redis, replica: Redis, doorbell: Any, listen: Any) -> None:
    """Its number may be that of somebody else here."""
    ear = listen(replica)
    consumer = Consumer(doorbell, redis, ear)
    for _ in range(3):
        assert consumer.turn() is None
    assert ear.deaf
    consumer.connection.send_command("CLIENT", "GETREDIR")
    assert consumer.connection.read_response() == -1


def test_ear_by_which_nobody_rings_is_given_up(redis: Redis, book: Book, doorbell: Any, listen: Any) -> None:
    consumer = Consumer(doorbell, redis, listen(redis))
    consumer.turn()
    consumer.turn()
    book.client.lpush("list", "message")
    assert consumer.turn() == b"message"
    assert consumer.holding.ear.deaf
    assert consumer.refusals == []


def test_connection_that_was_made_anew_loses_no_message(redis: Redis, book: Book, doorbell: Any, listen: Any) -> None:
    consumer = Consumer(doorbell, redis, listen(redis))
    consumer.turn()
    consumer.turn()
    consumer.connection.disconnect()
    book.client.lpush("list", "message")
    book.client.lpush("bell", "")
    assert consumer.turn() == b"message"
    assert consumer.holding.ear.deaf
