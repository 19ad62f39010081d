# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What celery_info asks inside a container, asked of real workers under a load that is known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery_running import HERE, Redis, Running
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._celery import census

Start = Callable[..., Running]
QUEUES = ("celery", "backups", "pricing", "reports", "notifications", "accounting", "monitoring", "webhooks")
PRIORITIES = (0, 3, 6, 9)
KINDS = ("prefork", "threads", "solo", "gevent", "eventlet")
# Seconds; no test waits for its end.
LONG = 600
SECRET = "sesame-4711"  # noqa: S105 - an argument that must not show


def ask(redis: Redis, *queues: str) -> dict[str, Any]:
    """The program is sent to a Python of its own, as to a container; its standard input stays open."""
    request = {"app": "tiny", "queues": queues, "within": 2.0}
    command, packed = shipment.visit(sys.executable, "census", request, ())
    process = subprocess.Popen(
        command,
        cwd=HERE,
        env={**os.environ, "TINY_URL": redis.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(packed)
    process.stdin.flush()
    output = process.stdout.read()
    assert process.wait(60) == 0
    assert SECRET not in output
    assert "p@ss" not in output
    assert "p%40ss" not in output
    return shipment.interpret(shipment.Outcome(0, output))


def counts(ready: int, unacked: int) -> dict[str, int]:
    return {"ready": ready, "unacked": unacked, "backlog": ready + unacked}


@pytest.mark.slow
def test_known_load_of_eight_queues_and_four_priorities(worker: Start, redis: Redis, app: Any) -> None:
    """Two tasks run, one waits for its time, and every list holds another number of messages.

    With a prefetch of 1 and both slots taken the worker takes no more.
    """
    worker("--queues=backups,pricing")
    nap, hello = app.tasks["tiny.nap"], app.tasks["tiny.hello"]
    hello.apply_async(queue="pricing", countdown=300, headers={"note": SECRET})
    wait_until(lambda: census_counts(app, "scheduled") == 1, "a task that waits for its time")
    for queue in ("backups", "pricing"):
        nap.apply_async((LONG,), queue=queue, time_limit=2 * LONG, argsrepr=SECRET)
    wait_until(lambda: census_counts(app, "active") == 2, "two naps")
    sums: dict[str, int] = {}
    for row, queue in enumerate(QUEUES):
        for column, priority in enumerate(PRIORITIES):
            number = 1 + 4 * row + column
            with app.producer_or_acquire() as producer:
                for _ in range(number):
                    hello.apply_async(queue=queue, priority=priority, producer=producer, ignore_result=True)
            sums[queue] = sums.get(queue, 0) + number
    found = ask(redis, *QUEUES)
    held = {"backups": 1, "pricing": 2}
    assert found["backlog"]["queues"] == {queue: counts(number, held.get(queue, 0)) for queue, number in sums.items()}
    assert (found["backlog"]["unacked"], found["backlog"]["elsewhere"]) == (3, 0)
    ((name, row),) = found["workers"].items()
    assert name.startswith("celery@")
    assert row["queues"] == ["backups", "pricing"]
    assert (row["kind"], row["concurrency"], row["processes"]) == ("prefork", 2, 2)
    assert (row["active"], row["reserved"], row["scheduled"]) == (2, 0, 1)
    assert found["tasks"] == [
        {"task": "tiny.hello", "queue": "pricing", "state": "scheduled", "acknowledged": False, "count": 1},
        {"task": "tiny.nap", "queue": "backups", "state": "active", "acknowledged": False, "count": 1},
        {"task": "tiny.nap", "queue": "pricing", "state": "active", "acknowledged": False, "count": 1},
    ]
    assert (row["clock_skew"], found["broker_skew"]) == (0.0, 0.0)


def census_counts(app: Any, state: str) -> int:
    replies = app.control.broadcast(state, reply=True, timeout=5, limit=1)
    return len(next(iter(replies[0].values())))


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_every_kind_says_what_it_is(worker: Start, redis: Redis, pool: str) -> None:
    worker(f"--pool={pool}")
    (row,) = ask(redis)["workers"].values()
    slots = 1 if pool == "solo" else 2
    processes = {"prefork": 2, "solo": 1}.get(pool)
    assert (row["kind"], row["concurrency"], row["processes"]) == (pool, slots, processes)


def test_early_acknowledged_tasks_are_in_no_list(worker: Start, redis: Redis, app: Any) -> None:
    worker("--", "task_acks_late=false")
    app.tasks["tiny.nap"].apply_async((LONG,), queue="a", time_limit=2 * LONG)
    wait_until(lambda: census_counts(app, "active") == 1, "a nap")
    found = ask(redis)
    assert found["backlog"]["queues"]["a"] == counts(0, 0)
    assert found["tasks"] == [{"task": "tiny.nap", "queue": "a", "state": "active", "acknowledged": True, "count": 1}]


def test_no_worker_answers(redis: Redis, app: Any) -> None:
    app.tasks["tiny.hello"].apply_async(queue="a")
    found = ask(redis, "a")
    assert found["workers"] == {}
    assert found["backlog"]["queues"]["a"] == counts(1, 0)


def test_a_broker_that_is_away_is_named_without_its_password(redis: Redis) -> None:
    redis.stop()
    with pytest.raises(shipment.AppError, match="The broker does not answer") as caught:
        ask(redis)
    assert f"127.0.0.1:{redis.port}" in str(caught.value)


@pytest.mark.parametrize(
    ("before", "told", "after", "expected"),
    [(10.0, 10.5, 11.0, 0.0), (10.0, 14.0, 11.0, 3.0), (10.0, 6.0, 11.0, -4.0)],
)
def test_skew_is_what_the_asking_cannot_explain(before: float, told: float, after: float, expected: float) -> None:
    assert census.skew(before, told, after) == expected
