# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes tell a process that works from one that only exists."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery_running import Redis, Running
from helpers.servers import wait_until

Start = Callable[..., Running]
KINDS = ["prefork", "threads", "solo", "gevent", "eventlet"]


@pytest.mark.slow
def test_command_line_and_application_stay_as_they_are(worker: Start, app: Any) -> None:
    running = worker("--", "worker_soft_shutdown_timeout=3")
    conf = next(iter(app.control.inspect(timeout=5).conf().values()))
    assert conf["worker_soft_shutdown_timeout"] == 3.0
    assert not [name for name in conf.get("include", []) if name.startswith("celeryops")]
    assert "celeryops" not in running.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "effective"), [(["--prefetch-multiplier=3"], 3), ([], 1)])
def test_the_prefetch_that_a_worker_goes_by_is_told(worker: Start, app: Any, flags: list[str], effective: int) -> None:
    """The setting alone is shown and not followed: Celery has filled in its option from the application by then."""
    worker(*flags, "--", "worker_prefetch_multiplier=3")
    ask = app.control.inspect(timeout=5)
    (conf,) = ask.conf().values()
    (stats,) = ask.stats().values()
    (probe,) = ask._request("celeryops_probe").values()
    assert conf["worker_prefetch_multiplier"] == 3
    assert stats["prefetch_count"] == 2 * effective
    assert probe["prefetch_multiplier"] == effective


@pytest.mark.slow
def test_metrics_count_what_children_did(worker: Start, app: Any) -> None:
    running = worker()
    add, die = app.tasks["tiny.add"], app.tasks["tiny.die"]
    assert [add.apply_async((n, 1), queue="a").get(10) for n in range(3)] == [1, 2, 3]
    with pytest.raises(TypeError):
        add.apply_async((1, "x"), queue="b").get(10)
    with pytest.raises(Exception, match="SIGKILL"):
        die.apply_async(queue="b").get(10)

    def counted() -> bool:
        found = running.scrape()
        return (
            found.get('celery_tasks_finished_total{task="tiny.add",state="SUCCESS"}') == 3
            and found.get('celery_tasks_finished_total{task="tiny.add",state="FAILURE"}') == 1
            and found.get('celery_tasks_lost_total{task="tiny.die"}') == 1
        )

    wait_until(counted, "counts of three successes, a failure and a loss")
    found = running.scrape()
    assert found['celery_tasks_received_total{task="tiny.add",queue="a"}'] == 3
    assert found['celery_task_duration_seconds_count{task="tiny.add"}'] == 4
    assert found['celery_task_duration_seconds_bucket{task="tiny.add",le="+Inf"}'] == 4
    assert found["celery_worker_consuming"] == 1
    assert found["celery_worker_concurrency"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_beat_sends_and_workers_tell(worker: Start, beat: Start, app: Any, pool: str) -> None:
    worker(f"--pool={pool}", "--queues=celery")
    beat()

    def told() -> bool:
        replies = app.control.broadcast("celeryops_probe", reply=True, timeout=3, limit=1)
        return "every second" in next(iter(replies[0].values()))["beat"]

    wait_until(told, "a run that beat caused")
    reply = next(iter(app.control.broadcast("celeryops_probe", reply=True, timeout=3, limit=1)[0].values()))
    assert reply["beat"]["every second"]["state"] == "SUCCESS"
    assert reply["beat"]["every second"]["queue"] == "celery"
    assert reply["consuming"]


def test_stopped_worker_fails_and_recovers(worker: Start) -> None:
    running = worker()
    running.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: running.fails("alive") and running.fails("ready"), "failing probes")
    assert "silent for" in running.probe("alive")[1]
    running.process.send_signal(signal.SIGCONT)
    wait_until(lambda: running.passes("alive") and running.passes("ready"), "passing probes")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_hung_consumer_fails(worker: Start, app: Any, pool: str) -> None:
    running = worker(f"--pool={pool}")
    app.control.broadcast("hang")
    wait_until(lambda: running.fails("alive"), "a failing liveness probe")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["gevent", "eventlet"])
def test_task_that_does_not_yield_fails(worker: Start, app: Any, pool: str) -> None:
    """One task that waits in C stops all others of its process, and the consumer too."""
    running = worker(f"--pool={pool}")
    app.tasks["tiny.wedge"].apply_async((60,), queue="a")
    wait_until(lambda: running.fails("alive"), "a failing liveness probe")


@pytest.mark.slow
@pytest.mark.parametrize("pool", KINDS)
def test_busy_worker_passes(worker: Start, app: Any, pool: str) -> None:
    """Every slot is taken for more than twice as long as an idle worker may be silent: four seconds."""
    running = worker(f"--pool={pool}", CELERYOPS_SILENCE_LIMIT="8")
    nap = app.tasks["tiny.nap"]
    naps = [nap.apply_async((9,), queue="a") for _ in range(2)][: 1 if pool == "solo" else 2]
    outcomes = []

    def over() -> bool:
        outcomes.append((running.probe("alive"), running.probe("ready")))
        return all(result.ready() for result in naps)

    wait_until(over, "two naps")
    assert len(outcomes) > 1
    assert [each for each in outcomes if not (each[0][0] and each[1][0])] == []


@pytest.mark.slow
def test_frozen_broker_is_noticed(worker: Start, redis: Redis) -> None:
    """No error is to be seen on such a connection: the answers to the consumer's own poll stay out."""
    running = worker()
    redis.send(signal.SIGSTOP)
    wait_until(lambda: running.fails("ready"), "a failing readiness probe")
    redis.send(signal.SIGCONT)
    wait_until(lambda: running.passes("ready"), "a passing readiness probe")


@pytest.mark.slow
def test_lost_broker_is_no_reason_to_kill(worker: Start, redis: Redis) -> None:
    running = worker()
    redis.stop()
    wait_until(lambda: running.fails("ready"), "a failing readiness probe")
    assert running.probe("alive") == (True, "")
    assert "reconnecting" in (running.state / "alive").read_text()
    redis.start()
    wait_until(lambda: running.passes("ready"), "a worker that consumes again")


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent", "eventlet"])
def test_shutdown_ends_readiness_and_not_life(worker: Start, app: Any, pool: str) -> None:
    running = worker(f"--pool={pool}")
    result = app.tasks["tiny.nap"].apply_async((3,), queue="a")
    wait_until(lambda: running.scrape()["celery_tasks_active"] == 1, "a running task")
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0
    assert result.get(5) == 3
    assert running.fails("ready")
    assert running.passes("alive")


def test_files_of_an_earlier_process_do_not_count(start: Start, tmp_path: Any) -> None:
    running = start("worker", "--queues=a", TINY_URL="redis://127.0.0.1:1/0")
    (running.state / "ready").write_text("99999999 0 somebody else\n")
    wait_until(lambda: not (running.state / "ready").exists(), "the removal of an old file")
    assert "starting" in (running.state / "alive").read_text()


def test_beat_against_a_lost_broker_is_not_ready(beat: Start, redis: Redis) -> None:
    running = beat()
    redis.stop()
    wait_until(lambda: running.fails("ready"), "a failing readiness probe")


@pytest.mark.slow
def test_stopped_beat_fails(beat: Start) -> None:
    running = beat()
    running.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: running.fails("alive"), "a failing liveness probe")


def test_taken_metrics_port_does_not_stop_a_worker(worker: Start, redis: Redis) -> None:
    running = worker(CELERYOPS_METRICS_PORT=str(redis.port))
    assert "no metrics: port" in running.log.read_text()
    os.kill(running.process.pid, 0)
