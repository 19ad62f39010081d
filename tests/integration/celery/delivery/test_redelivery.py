# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a worker held when it died runs elsewhere; what one that lives holds stays with it, however long."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import LEASE, Book, Worker, send
from helpers.servers import wait_until

Fleet = Callable[..., Worker]
KINDS = ["prefork", "threads", "solo", "gevent", "eventlet"]


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_killed_workers_task_runs_elsewhere(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    first = fleet("first", f"--pool={pool}")
    task = send(kept, "work", 20)
    book.wait_started(task)
    fleet("second", f"--pool={pool}")
    first.kill()
    assert first.running.process.returncode == -signal.SIGKILL
    book.wait_started(task, times=2)
    assert book.on(task) == "second"
    assert [line["redelivered"] for line in book.notes(task)] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_long_task_is_not_delivered_again(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    """It takes four times as long as a silent worker may keep its messages; a solo worker's loop is busy meanwhile."""
    fleet("first", f"--pool={pool}")
    task = send(kept, "work", 4 * LEASE)
    book.wait_started(task)
    fleet("second", f"--pool={pool}")
    book.wait_finished(task)
    wait_until(lambda: book.left_over() == [], "an empty ledger")
    assert book.started(task) == 1
    assert book.queued() == 0


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_green_worker_that_cannot_yield_keeps_its_task(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    fleet("first", f"--pool={pool}")
    task = send(kept, "wedge", int(3 * LEASE))
    book.wait_started(task)
    fleet("second", f"--pool={pool}")
    book.wait_finished(task)
    wait_until(lambda: book.left_over() == [], "an empty ledger")
    assert book.started(task) == 1


@pytest.mark.slow
@pytest.mark.parametrize("options", ["{}", '{"global_keyprefix": "shop:", "sep": ":", "priority_steps": [0, 5]}'])
def test_everything_in_hand_comes_back_where_it_was(fleet: Fleet, kept: Any, book: Book, options: str) -> None:
    """Running, waiting for its time, and fetched ahead; each to the list of its own priority."""
    kept.conf.broker_transport_options = {**kept.conf.broker_transport_options, **json.loads(options)}
    book.prefix = json.loads(options).get("global_keyprefix", "")
    first = fleet("first", "--concurrency=1", "--prefetch-multiplier=2", KEPT_OPTIONS=options)
    later = send(kept, "work", 0, countdown=3600)
    running = send(kept, "work", 60, priority=7)
    book.wait_started(running)
    ahead = send(kept, "work", 0, priority=3, queue="b")
    wait_until(lambda: book.unacked() == 3, "three messages in hand")
    first.kill()
    fleet("second", "--concurrency=3", KEPT_OPTIONS=options)
    book.wait_started(running, times=2)
    book.wait_finished(ahead)
    wait_until(lambda: book.unacked() == 2, "two messages in hand")
    (held,) = book.client.keys(book.key("celeryops:held:*"))
    lists = {json.loads(note)["list"] for note in book.client.hvals(held)}
    step = json.loads(options).get("sep", "\x06\x16") + ("5" if "sep" in options else "7")
    assert lists == {book.key("a"), book.key("a" + step)}
    assert book.started(later) == 0


@pytest.mark.slow
def test_death_with_kombus_restore_lock_delays_nothing(fleet: Fleet, kept: Any, book: Book) -> None:
    """The lock lasts 300 s by itself, and kombu returns nothing while somebody has it."""
    first = fleet("first")
    task = send(kept, "work", 20)
    book.wait_started(task)
    fleet("second")
    book.client.set("unacked_mutex", "of a process that is dead", ex=300)
    first.kill()
    book.wait_started(task, times=2)
    assert book.on(task) == "second"
    assert book.client.ttl("unacked_mutex") > 200


@pytest.mark.slow
def test_message_on_its_way_to_a_frozen_worker_is_not_lost(fleet: Fleet, kept: Any, book: Book) -> None:
    """Redis answers the worker's question while the worker is stopped; then it is killed."""
    first = fleet("first", CELERYOPS_POLL="600")
    wait_until(lambda: "brpop" in [client["cmd"] for client in book.client.client_list()], "an idle worker")
    first.send(signal.SIGSTOP)
    tasks = [send(kept, "work", 0) for _ in range(3)]
    # The one that would ring is stopped as well.
    (worker,) = book.client.zrange("celeryops:workers", 0, -1)
    book.client.rpush(f"celeryops:doorbell:{worker}", "")
    wait_until(lambda: book.queued() == 2, "a message that was given to the stopped worker")
    first.kill()
    fleet("second")
    book.wait_finished(*tasks)


@pytest.mark.slow
def test_frozen_workers_messages_are_taken_over(fleet: Fleet, kept: Any, book: Book) -> None:
    """After SIGCONT the task that ran goes on, what had not started stays where it is now, and all is well again."""
    first = fleet("first", "--concurrency=1", "--prefetch-multiplier=2")
    later = send(kept, "work", 0, countdown=12)
    running = send(kept, "work", 2)
    book.wait_started(running)
    ahead = send(kept, "work", 120)
    wait_until(lambda: book.unacked() == 3, "three messages in hand")
    first.send(signal.SIGSTOP)
    fleet("second", "--concurrency=3")
    book.wait_started(running, ahead, times=1)
    book.wait_started(running, times=2)
    book.wait_finished(running)
    first.send(signal.SIGCONT)
    wait_until(lambda: book.finished(running) == 2, "the end of the task that was frozen")
    book.wait_finished(later)
    wait_until(lambda: "does not start here" in first.log, "a message that was given up")
    # The thawed worker works again, and what it gave up is still where it was taken to.
    after = [send(kept, "work", 0) for _ in range(5)]
    book.wait_finished(*after)
    assert [book.started(each) for each in (running, ahead, later)] == [2, 1, 1]
    assert book.on(ahead) == book.on(later) == "second"
    # A task says that it has finished before its worker acknowledges it.
    wait_until(lambda: book.unacked() == 1, "nothing in hand but the task that runs")


@pytest.mark.slow
def test_thawed_worker_does_not_return_what_others_hold(fleet: Fleet, kept: Any, book: Book) -> None:
    first = fleet("first")
    task = send(kept, "work", 6)
    book.wait_started(task)
    first.send(signal.SIGSTOP)
    fleet("second")
    book.wait_started(task, times=2)
    first.send(signal.SIGCONT)
    first.running.process.send_signal(signal.SIGTERM)
    assert first.running.process.wait(30) == 0
    wait_until(lambda: book.finished(task), "the end of the task elsewhere")
    wait_until(lambda: book.left_over() == [], "an empty ledger")
    assert book.started(task) == 2
    assert book.queued() == 0


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_stopped_worker_gives_everything_back(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    """Nothing is suspected, nothing waits for a lease to end, and the worker is forgotten."""
    first = fleet("first", f"--pool={pool}", "--prefetch-multiplier=2", "--", "worker_soft_shutdown_timeout=3")
    later = send(kept, "work", 0, countdown=3600)
    quick, slow = send(kept, "work", 2), send(kept, "work", 60 if pool == "prefork" else 2)
    book.wait_started(quick, slow)
    ahead = [send(kept, "work", 0) for _ in range(2)]
    wait_until(lambda: book.unacked() == 5, "five messages in hand")
    first.running.process.send_signal(signal.SIGTERM)
    assert first.running.process.wait(30) == 0
    book.wait_finished(quick)
    assert book.unacked() == 0
    assert book.left_over() == []
    assert book.client.zcard("celeryops:workers") == 0
    fleet("second")
    book.wait_finished(*ahead)
    assert (book.started(quick), book.started(later)) == (1, 0)


def test_broker_restart_with_messages_in_hand(fleet: Fleet, kept: Any, book: Book, redis: Redis) -> None:
    """Redis is away for longer than a silent worker may be. Nothing runs twice, nothing is left over."""
    workers = [fleet("first", "--concurrency=1", "--prefetch-multiplier=2"), fleet("second", "--concurrency=1")]
    running = [send(kept, "work", 4 * LEASE) for _ in range(2)]
    book.wait_started(*running)
    ahead = send(kept, "work", 0)
    wait_until(lambda: book.queued() == 0, "three messages in hand")
    book.client.save()
    redis.stop()
    wait_until(lambda: all("keeper has lost its broker" in worker.log for worker in workers), "workers that noticed")
    away = time.monotonic() + 1.5 * LEASE
    wait_until(lambda: time.monotonic() > away, "the end of the outage")
    redis.start()
    book.wait_finished(*running, ahead)
    wait_until(lambda: book.left_over() == [], "an empty ledger")
    assert [book.started(task) for task in (*running, ahead)] == [1, 1, 1]
    assert [worker.running.process.poll() for worker in workers] == [None, None]


@pytest.mark.slow
def test_workers_without_leases_keep_kombus_own_way(fleet: Fleet, kept: Any, book: Book) -> None:
    """Their messages come back by the visibility timeout, and only by it."""
    options = '{"visibility_timeout": 6}'
    first = fleet("first", CELERYOPS_LEASE="0", KEPT_OPTIONS=options)
    task = send(kept, "work", 30)
    book.wait_started(task)
    assert book.client.keys("celeryops:*") == []
    ((_, received),) = book.client.zrange("unacked_index", 0, -1, withscores=True)
    first.kill()
    fleet("second", KEPT_OPTIONS=options)
    book.wait_started(task, times=2)
    ((_, again),) = book.client.zrange("unacked_index", 0, -1, withscores=True)
    assert again - received >= 6
