# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus gets from a worker: parsed by its own client, and true under a load that is known."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py
from celery_running import Redis, Running
from helpers.servers import wait_until
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

Start = Callable[..., Running]
QUEUES = ("celery", "backups", "pricing", "reports", "notifications", "accounting", "monitoring", "webhooks")
PRIORITIES = (0, 3, 6, 9)
KINDS = ("prefork", "threads", "solo", "gevent", "eventlet")
# What the workers of these tests consume, and the default queue, which is declared and nobody's
IDLE = {"a": 0, "b": 0, "celery": 0}
# Seconds; no test waits for its end.
LONG = 600


def families(running: Running) -> dict[str, Metric]:
    """By name without the suffix of a counter; two of one name would be an error in Prometheus."""
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port}/metrics", timeout=20) as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        found = list(text_string_to_metric_families(answer.read().decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def by_queue(running: Running, name: str) -> dict[str, float]:
    family = families(running).get(name)
    return {sample.labels["queue"]: sample.value for sample in family.samples} if family else {}


def hold(app: Any, running: Running, queue: str, number: int) -> None:
    """Tasks that run for longer than the test."""
    for _ in range(number):
        app.tasks["tiny.nap"].apply_async((LONG,), queue=queue, time_limit=2 * LONG)
    wait_until(lambda: running.scrape()["celery_tasks_active"] == number, "running tasks")


def test_backlog_of_eight_queues_and_four_priorities(worker: Start, app: Any) -> None:
    """A full worker that consumes all of them: what it holds is part of the backlog, and no part of what is ready."""
    running = worker(f"--queues={','.join(QUEUES)}", CELERYOPS_BACKLOG_INTERVAL="0.1")
    hold(app, running, "backups", 2)
    sums: dict[str, float] = {}
    for row, queue in enumerate(QUEUES):
        for column, priority in enumerate(PRIORITIES):
            number = 1 + 4 * row + column
            with app.producer_or_acquire() as producer:
                for _ in range(number):
                    app.tasks["tiny.hello"].apply_async(
                        queue=queue, priority=priority, producer=producer, ignore_result=True
                    )
            sums[queue] = sums.get(queue, 0) + number
    wait_until(lambda: by_queue(running, "celery_queue_ready") == sums, "what is ready")
    assert by_queue(running, "celery_queue_backlog") == {**sums, "backups": sums["backups"] + 2}
    found = families(running)
    assert by_queue(running, "celery_tasks_active_acknowledged") == {}
    assert found["celery_broker_up"].samples[0].value == 1
    for name in ("celery_queue_ready", "celery_queue_backlog"):
        assert found[name].type == "gauge"
        assert "max over workers" in found[name].documentation


def test_tasks_by_state_duration_and_loss(worker: Start, app: Any) -> None:
    running = worker()
    add = app.tasks["tiny.add"]
    assert add.apply_async((1, 2), queue="a").get(10) == 3
    with pytest.raises(TypeError):
        add.apply_async((1, "x"), queue="a").get(10)
    wait_until(lambda: len(families(running)["celery_tasks_finished"].samples) == 2, "two states")
    found = families(running)
    states = {sample.labels["state"]: sample.value for sample in found["celery_tasks_finished"].samples}
    assert states == {"SUCCESS": 1, "FAILURE": 1}
    assert {name: found[name].type for name in ("celery_tasks_received", "celery_task_duration_seconds")} == {
        "celery_tasks_received": "counter",
        "celery_task_duration_seconds": "histogram",
    }
    counted = {
        sample.labels["le"]: sample.value
        for sample in found["celery_task_duration_seconds"].samples
        if sample.name.endswith("_bucket")
    }
    assert list(counted.values()) == sorted(counted.values())
    assert counted["+Inf"] == 2
    assert all(family.documentation for family in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_every_kind_of_pool_tells_the_backlog(worker: Start, app: Any, pool: str) -> None:
    running = worker(f"--pool={pool}", CELERYOPS_BACKLOG_INTERVAL="0.1")
    for _ in range(3):
        app.tasks["tiny.hello"].apply_async(queue="a", countdown=LONG)
    wait_until(lambda: by_queue(running, "celery_queue_backlog") == {**IDLE, "a": 3}, "three tasks that wait")
    wait_until(lambda: by_queue(running, "celery_queue_ready") == IDLE, "all of them in the worker")


def test_early_acknowledged_tasks_complete_the_backlog(worker: Start, app: Any) -> None:
    running = worker("--", "task_acks_late=false", CELERYOPS_BACKLOG_INTERVAL="0.1")
    hold(app, running, "b", 2)
    wait_until(lambda: by_queue(running, "celery_tasks_active_acknowledged") == {"b": 2}, "two running tasks")
    wait_until(lambda: by_queue(running, "celery_queue_backlog") == IDLE, "an empty broker")


def test_scrapes_share_a_reading(worker: Start, redis: Redis) -> None:
    running = worker(CELERYOPS_BACKLOG_INTERVAL="600")
    with redis_py.Redis.from_url(redis.url) as client:
        families(running)
        before = client.info("commandstats")["cmdstat_hlen"]["calls"]
        first = families(running)["celery_queue_backlog_read_timestamp_seconds"].samples[0].value
        for _ in range(5):
            assert families(running)["celery_queue_backlog_read_timestamp_seconds"].samples[0].value == first
        assert client.info("commandstats")["cmdstat_hlen"]["calls"] == before == 1


def test_no_interval_no_backlog(worker: Start, redis: Redis) -> None:
    running = worker(CELERYOPS_BACKLOG_INTERVAL="0")
    assert not [name for name in families(running) if name.startswith(("celery_queue", "celery_broker"))]
    with redis_py.Redis.from_url(redis.url) as client:
        assert "cmdstat_hlen" not in client.info("commandstats")


@pytest.mark.slow
def test_a_large_hash_does_not_hold_the_consumer_up(worker: Start, redis: Redis, app: Any) -> None:
    """The backlog is read again, 10 MB each time, while tasks are run and the probes pass."""
    running = worker(CELERYOPS_BACKLOG_INTERVAL="0.001")
    body = {"body": "x" * 1000, "headers": {}, "properties": {}}
    with redis_py.Redis.from_url(redis.url) as client, client.pipeline(transaction=False) as pipe:
        for tag in range(10000):
            pipe.hset("unacked", f"later-{tag}", json.dumps([body, "", "b"]))
        pipe.execute()
    add, seen = app.tasks["tiny.add"], set()
    while len(seen) < 2:
        found = families(running)
        seen.add(found["celery_queue_backlog_read_timestamp_seconds"].samples[0].value)
        assert add.apply_async((1, 2), queue="a").get(10) == 3
        assert running.passes("ready")
        assert running.passes("alive")
    assert by_queue(running, "celery_queue_backlog")["b"] == 10000


@pytest.mark.slow
def test_figures_of_a_broker_that_is_away_are_not_repeated(worker: Start, redis: Redis) -> None:
    """Frozen or gone: the scrape is answered all the same, and says so instead of what it knew."""
    running = worker(CELERYOPS_BACKLOG_INTERVAL="0.1")
    wait_until(lambda: by_queue(running, "celery_queue_backlog") == IDLE, "a backlog")
    for end, again in (
        (lambda: redis.send(signal.SIGSTOP), lambda: redis.send(signal.SIGCONT)),
        (redis.stop, redis.start),
    ):
        end()
        wait_until(lambda: families(running)["celery_broker_up"].samples[0].value == 0, "a broker that is away")
        assert "celery_queue_backlog" not in families(running)
        again()
        wait_until(lambda: by_queue(running, "celery_queue_backlog") == IDLE, "the backlog again")
    log = running.log.read_text()
    assert log.count("the backlog cannot be read") == 2
    assert "p%40ss" not in log
    assert "p@ss" not in log
