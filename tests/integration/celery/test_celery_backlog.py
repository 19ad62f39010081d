# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The backlog that is read equals the load that was made, however the application keeps it in Redis."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from celery import Celery
from celery_running import PASSWORD, QUOTED, Redis
from helpers.servers import free_port, wait_until
from kombu import Exchange, Queue
from kombu.common import Broadcast

from ansible_collections.celeryops.platform.plugins.module_utils._celery import backlog

QUEUES = ("celery", "backups", "pricing", "reports", "notifications", "accounting", "monitoring", "webhooks")
PRIORITIES = (0, 3, 6, 9)
WITHIN = 3.0

Make = Callable[..., Celery]


def _nothing() -> None:
    """A task of the load."""


@pytest.fixture
def make(redis: Redis) -> Iterator[Make]:
    """An application with these settings, whose only task does nothing."""
    with contextlib.ExitStack() as stack:

        def build(**settings: Any) -> Celery:
            app = Celery("load", set_as_current=False)
            app.conf.update({"broker_url": redis.url, "task_ignore_result": True, **settings})
            # Of this application alone: a lambda shared with others cannot be bound by theirs.
            app.task(_nothing, name="load.nothing", shared=False)
            stack.callback(app.close)
            return app

        yield build


def read(app: Celery, *queues: str) -> dict[str, Any]:
    own, fanout = backlog.declared(app)
    with backlog.opened(app.connection_for_read(), WITHIN) as channel:
        found: dict[str, Any] = backlog.read(channel, own | set(queues), fanout)
        return found


def send(app: Celery, number: int, **options: Any) -> None:
    with app.producer_or_acquire() as producer:
        for _ in range(number):
            app.send_task("load.nothing", producer=producer, **options)


@contextlib.contextmanager
def holding(app: Celery, queue: str, number: int) -> Iterator[None]:
    """A consumer that has taken as many messages of the queue as are named, and acknowledged none."""
    with app.connection_for_read() as connection:
        taken = app.amqp.queues[queue].bind(connection.default_channel)
        assert all(taken.get() for _ in range(number))
        yield


def counts(ready: int, unacked: int) -> dict[str, int]:
    return {"ready": ready, "unacked": unacked, "backlog": ready + unacked}


def test_eight_queues_of_four_priorities(make: Make) -> None:
    """Another number of messages in each of the 32 lists, and another number of each queue's in a consumer's hands."""
    app = make()
    load = {
        name: {pri: 1 + 4 * row + column for column, pri in enumerate(PRIORITIES)} for row, name in enumerate(QUEUES)
    }
    for queue, each in load.items():
        for priority, number in each.items():
            send(app, number, queue=queue, priority=priority)
    sums = {queue: sum(each.values()) for queue, each in load.items()}
    assert read(app)["queues"] == {queue: counts(number, 0) for queue, number in sums.items()}
    with contextlib.ExitStack() as stack:
        for taken, queue in enumerate(QUEUES):
            stack.enter_context(holding(app, queue, taken))
        found = read(app)
        assert found["queues"] == {queue: counts(sums[queue] - taken, taken) for taken, queue in enumerate(QUEUES)}
        assert (found["unacked"], found["elsewhere"]) == (28, 0)
    assert read(app)["queues"] == {queue: counts(number, 0) for queue, number in sums.items()}


def test_steps_separator_and_prefixes_of_the_application(make: Make, redis: Redis) -> None:
    options = {"priority_steps": [1, 2, 5], "sep": "::", "global_keyprefix": "shop:", "unacked_key": "held"}
    app = make(broker_transport_options=options)
    for priority in (0, 1, 2, 4, 9):
        send(app, 2, queue="a", priority=priority)
    with redis_py.Redis.from_url(redis.url) as client:
        assert {name.decode() for name in client.keys("shop:a*")} == {"shop:a::1", "shop:a::2", "shop:a::5"}
    with holding(app, "a", 3):
        assert read(app)["queues"]["a"] == counts(7, 3)
        # Who knows nothing of these options sees nothing.
        assert read(make(), "a")["queues"]["a"] == counts(0, 0)


def test_bindings_lead_to_queues_and_fanout_to_none(make: Make, redis: Redis) -> None:
    direct, topic = Exchange("orders", type="direct"), Exchange("news", type="topic")
    app = make(
        task_queues=[
            Queue("celery"),
            Queue("invoices", direct, routing_key="billing"),
            Queue("sport", topic, routing_key="*.sport.#"),
            Broadcast("reload", queue="reload"),
        ]
    )
    send(app, 4, queue="invoices")
    send(app, 3, queue="sport", routing_key="uk.sport.cricket")
    assert read(app)["queues"] == {"celery": counts(0, 0), "invoices": counts(4, 0), "sport": counts(3, 0)}
    with app.connection_for_read() as connection, holding(app, "invoices", 2), holding(app, "sport", 1):
        broadcast = app.amqp.queues["reload"].bind(connection.default_channel)
        heard: list[Any] = []
        consumer = connection.Consumer([broadcast], callbacks=[lambda _body, message: heard.append(message)])
        consumer.consume()

        def drained() -> None:
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=0.2)

        with redis_py.Redis.from_url(redis.url) as client:
            wait_until(lambda: (drained(), client.pubsub_numpat())[1], "a subscription")
        # Without the declaration a producer of kombu takes the exchange for a direct one.
        with app.producer_or_acquire() as producer:
            producer.publish({}, exchange="reload", routing_key="celery", declare=[app.amqp.queues["reload"]])
        wait_until(lambda: (drained(), heard)[1], "the broadcast")
        assert len(heard) == 1
        found = read(app)
        assert found["queues"] == {"celery": counts(0, 0), "invoices": counts(2, 2), "sport": counts(2, 1)}
        # The broadcast lies in the hash as well, and came from no list.
        assert (found["unacked"], found["elsewhere"]) == (4, 1)


def test_what_is_held_of_other_queues_is_told(make: Make) -> None:
    app = make()
    send(app, 2, queue="a")
    send(app, 1, queue="b")
    with holding(app, "a", 2), holding(app, "b", 1), backlog.opened(app.connection_for_read(), WITHIN) as channel:
        found = backlog.read(channel, ["b"])
    assert found == {"queues": {"b": counts(0, 1)}, "unacked": 3, "elsewhere": 2}


def test_a_large_hash_is_read_in_portions(make: Make, redis: Redis) -> None:
    """40 MB of messages that wait for their time; never more than a few portions of them are in memory."""
    number, size = 20000, 2000
    body = {"body": "x" * size, "headers": {}, "properties": {}}
    with redis_py.Redis.from_url(redis.url) as client:
        with client.pipeline(transaction=False) as pipe:
            for tag in range(number):
                pipe.hset("unacked", str(tag), json.dumps([body, "", "ab"[tag % 2]]))
            pipe.execute()
        app = make()
        own, fanout = backlog.declared(app)
        with backlog.opened(app.connection_for_read(), WITHIN) as channel:
            tracemalloc.start()
            try:
                found = backlog.read(channel, own | {"a", "b"}, fanout)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        commands = client.info("commandstats")
    assert found["queues"]["a"] == found["queues"]["b"] == counts(0, number // 2)
    assert "cmdstat_hvals" not in commands
    assert commands["cmdstat_hscan"]["calls"] > number / backlog.BATCH / 2
    assert peak < number * size / 8


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    key, own = tmp_path / "key.pem", tmp_path / "own.pem"
    made = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *made, *names, "-keyout", key, "-out", own], check=True, capture_output=True)
    return key, own


def test_tls_password_and_a_first_url_that_is_dead(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    key, own = certificate
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(own), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
    server = Redis(tmp_path, *tls)
    server.start()
    try:
        trust = f"ssl_cert_reqs=required&ssl_ca_certs={own}"
        urls = [f"rediss://:{QUOTED}@127.0.0.1:{number}/3?{trust}" for number in (free_port(), port)]
        for given in (urls, ";".join(urls)):
            app = Celery("tls", broker=given, set_as_current=False)
            send(app, 2, queue="a")
            app.close()
        found = read(Celery("tls", broker=urls, set_as_current=False), "a")
        assert found["queues"]["a"] == counts(4, 0)
        with redis_py.Redis(port=server.port, password=PASSWORD, db=3) as client:
            assert client.llen("a") == 4
    finally:
        server.stop()


def test_a_broker_that_does_not_answer_is_an_error(make: Make, redis: Redis) -> None:
    app = make()
    redis.stop()
    connection = app.connection_for_read()
    with pytest.raises(connection.connection_errors), backlog.opened(connection, WITHIN):
        pytest.fail("there is no broker")


def test_another_kind_of_broker_is_not_guessed_at(make: Make) -> None:
    app = make(broker_url="memory://")
    with backlog.opened(app.connection_for_read(), WITHIN) as channel, pytest.raises(backlog.Unknown, match="memory"):
        backlog.read(channel, ["a"])
