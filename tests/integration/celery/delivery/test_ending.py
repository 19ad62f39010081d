# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that is told to go: when it goes, and what it leaves behind."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import Book, Worker, send
from helpers.servers import DEADLINE, wait_until

Fleet = Callable[..., Worker]
# Longer than any test waits: whoever sleeps through it fails.
SOFT = ["--", f"worker_soft_shutdown_timeout={4 * DEADLINE}"]


def leaves(worker: Worker) -> bool:
    return worker.running.process.wait(DEADLINE) == 0


@pytest.mark.slow
@pytest.mark.parametrize("lease", ["3", "0"])
def test_told_to_go_while_a_result_is_read(fleet: Fleet, kept: Any, book: Book, lease: str) -> None:
    """With Celery's own handler the result is lost to the pool, which waits for its children to give up."""
    worker = fleet("first", "--concurrency=1", *SOFT, KEPT_TERMINATE="1", CELERYOPS_LEASE=lease)
    task = send(kept, "work", 0)
    assert leaves(worker)
    assert (book.started(task), book.finished(task)) == (1, 1)
    assert book.unacked() == 0


@pytest.mark.slow
@pytest.mark.parametrize("lease", ["3", "0"])
def test_goes_when_its_tasks_have_ended(fleet: Fleet, kept: Any, book: Book, lease: str) -> None:
    """What was fetched ahead goes back unbegun."""
    worker = fleet("first", "--prefetch-multiplier=2", *SOFT, CELERYOPS_LEASE=lease)
    running = [send(kept, "work", 3), send(kept, "work", 2)]
    book.wait_started(*running)
    ahead = [send(kept, "work", 0) for _ in range(2)]
    wait_until(lambda: book.unacked() == 4, "four messages in hand")
    worker.running.process.send_signal(signal.SIGTERM)
    assert leaves(worker)
    assert [book.finished(task) for task in running] == [1, 1]
    assert [book.started(task) for task in ahead] == [0, 0]
    assert (book.unacked(), book.queued()) == (0, 2)
    fleet("second", CELERYOPS_LEASE=lease)
    book.wait_finished(*ahead)


def test_an_idle_worker_goes_at_once(fleet: Fleet, book: Book) -> None:
    worker = fleet("first", *SOFT)
    worker.running.process.send_signal(signal.SIGTERM)
    assert leaves(worker)
    assert book.left_over() == []


def test_told_twice_it_does_not_wait(fleet: Fleet, kept: Any, book: Book) -> None:
    worker = fleet("first", *SOFT)
    task = send(kept, "work", 2 * DEADLINE)
    book.wait_started(task)
    worker.running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "celeryops: stopping, 1 tasks" in worker.log, "a worker that waits for its task")
    worker.running.process.send_signal(signal.SIGTERM)
    assert leaves(worker)
    assert (book.finished(task), book.unacked(), book.queued()) == (0, 0, 1)
    assert book.left_over() == []


def test_the_broker_goes_first(fleet: Fleet, kept: Any, book: Book, redis: Redis) -> None:
    """There is nothing to reconnect for; the message comes back when the lease has ended."""
    worker = fleet("first", *SOFT)
    task = send(kept, "work", 2 * DEADLINE)
    book.wait_started(task)
    book.client.save()
    worker.running.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "celeryops: stopping, 1 tasks" in worker.log, "a worker that waits for its task")
    redis.stop()
    assert leaves(worker)
    redis.start()
    fleet("second")
    book.wait_started(task, times=2)
    assert book.finished(task) == 0
