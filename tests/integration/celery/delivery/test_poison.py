# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A task that kills its process again and again becomes a dead letter; its neighbours run to their end."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import chord, group
from celery.exceptions import WorkerLostError
from delivery_running import Book, Worker, send
from helpers.servers import wait_until

Fleet = Callable[..., Worker]
LIMIT = {"CELERYOPS_REDELIVERY_LIMIT": "2"}


@pytest.mark.slow
def test_task_that_kills_its_child(fleet: Fleet, kept: Any, book: Book) -> None:
    """Started once and delivered again twice; the waiting caller gets an error, the neighbour its result."""
    worker = fleet("first", **LIMIT)
    neighbour = send(kept, "work", 5)
    book.wait_started(neighbour)
    poison = kept.tasks["kept.kill_process"].apply_async(("secret",), {"key": "word"}, queue="b", priority=4)
    with pytest.raises(WorkerLostError, match="dead letter after 3 deaths"):
        poison.get(30)
    assert book.started(poison.id) == 3
    (letter,) = book.dead()
    assert (letter["id"], letter["task"], letter["list"]) == (poison.id, "kept.kill_process", "b\x06\x164")
    assert [(death["killed"], "signal 9" in death["how"]) for death in letter["history"]] == [(True, True)] * 3
    assert {death["worker"].split("@")[0] for death in letter["history"]} == {"first"}
    book.wait_finished(neighbour)
    assert book.started(neighbour) == 1
    wait_until(lambda: book.left_over() == [], "an empty ledger")
    assert worker.running.process.poll() is None

    def counted() -> bool:
        found = worker.running.scrape()
        return (
            found['celery_tasks_redelivered_total{reason="child_lost"}'] == 2
            and found["celery_tasks_dead_lettered_total"] == 1
            and found["celery_dead_letters"] == 1
        )

    wait_until(counted, "two redeliveries and a dead letter in the metrics")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_task_that_kills_its_worker(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    """It ran alone each time: there is no doubt. Each pod that it kills is replaced."""
    poison = kept.tasks["kept.kill_worker"].apply_async()
    for number in range(3):
        worker = fleet(f"pod{number}", f"--pool={pool}", **LIMIT)
        book.wait_started(poison.id, times=number + 1)
        worker.running.process.wait(30)
    survivor = fleet("survivor", f"--pool={pool}", **LIMIT)
    with pytest.raises(WorkerLostError, match="dead letter after 3 deaths"):
        poison.get(60)
    assert book.started(poison.id) == 3
    (letter,) = book.dead()
    assert [(death["killed"], death["beside"]) for death in letter["history"]] == [(True, 0)] * 3
    assert [death["worker"].split("@")[0] for death in letter["history"]] == ["pod0", "pod1", "pod2"]
    assert survivor.running.process.poll() is None


@pytest.mark.slow
def test_innocent_neighbours_of_a_killed_worker(fleet: Fleet, kept: Any, book: Book) -> None:
    """Both run in each worker that dies, until they are kept apart; only one of them is a dead letter."""
    innocent = send(kept, "work", 8)
    poison = send(kept, "kill_worker", 2.0)
    waiting = send(kept, "work", 0, countdown=3600)
    for number in range(5):
        fleet(f"pod{number}", **LIMIT).running.process.wait(60)
    fleet("survivor", **LIMIT)
    wait_until(lambda: book.dead() != [], "a dead letter")
    book.wait_finished(innocent)
    (letter,) = book.dead()
    assert letter["id"] == poison
    assert [death["beside"] for death in letter["history"][:2]] == [1, 1]
    assert [death["killed"] for death in letter["history"]] == [False, False, True, True, True]
    assert book.started(waiting) == 0
    wait_until(lambda: book.unacked() == 1, "one message in hand, which waits for its time")


@pytest.mark.slow
def test_graceful_returns_and_kills_while_leaving_count_for_nothing(fleet: Fleet, kept: Any, book: Book) -> None:
    task = send(kept, "work", 60)
    for number in range(3):
        worker = fleet(f"update{number}", "--", "worker_soft_shutdown_timeout=1", **LIMIT)
        book.wait_started(task, times=number + 1)
        worker.running.process.send_signal(signal.SIGTERM)
        assert worker.running.process.wait(30) == 0
    for number in range(3):
        worker = fleet(f"late{number}", "--", "worker_soft_shutdown_timeout=30", **LIMIT)
        book.wait_started(task, times=number + 4)
        worker.running.process.send_signal(signal.SIGTERM)
        wait_until(lambda: book.client.hlen("celeryops:leaving") == 1, "a worker that says that it leaves")
        worker.kill()
    fleet("last", **LIMIT)
    book.wait_started(task, times=7)
    assert book.dead() == []
    assert book.client.keys("celeryops:deaths:*") == []


@pytest.mark.slow
def test_chord_with_a_dead_letter_fails(fleet: Fleet, kept: Any, book: Book) -> None:
    fleet("first", "--concurrency=3", **LIMIT)
    work = kept.tasks["kept.work"]
    body = chord(group(work.s(0), kept.tasks["kept.kill_process"].s()), work.s())
    with pytest.raises(Exception, match="dead letter"):
        body.apply_async().get(30)


@pytest.mark.slow
def test_answer_is_given_by_another_worker(fleet: Fleet, kept: Any, book: Book) -> None:
    """The worker that buried the letter died before it could tell."""
    first = fleet("first", **LIMIT)
    poison = kept.tasks["kept.kill_process"].apply_async()
    wait_until(lambda: book.dead() != [], "a dead letter")
    first.kill()
    # As if it had been killed a moment earlier
    poison.forget()
    (letter,) = book.dead()
    (tag,) = book.client.hkeys("celeryops:dead")
    book.client.sadd("celeryops:untold", tag)
    fleet("second", **LIMIT)
    with pytest.raises(WorkerLostError, match="dead letter"):
        kept.AsyncResult(letter["id"]).get(30)
    wait_until(lambda: book.client.scard("celeryops:untold") == 0, "nobody left to tell")
    assert json.loads(letter["message"])[0]["headers"]["id"] == letter["id"]
