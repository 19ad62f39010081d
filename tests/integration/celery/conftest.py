# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of probes and start conditions."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery_running import FILES, HERE, Redis, Running
from helpers.servers import DEADLINE, free_port, wait_until


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def replica(redis: Redis, tmp_path: Path) -> Iterator[Redis]:
    folder = tmp_path / "replica"
    folder.mkdir()
    server = Redis(folder, "--replicaof", "127.0.0.1", str(redis.port))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start(redis: Redis, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts ``celery -A tiny ...``; everything ends with the test. Times are a tenth of the real ones."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str, **changes: str) -> Running:
            state = tmp_path / arguments[0]
            state.mkdir()
            port = free_port()
            environment = {
                **os.environ,
                "TINY_URL": redis.url,
                "PYTHONPATH": str(FILES),
                "CELERYOPS_STATE_DIR": str(state),
                "CELERYOPS_INTERVAL": "0.5",
                "CELERYOPS_SILENCE_LIMIT": "4",
                "CELERYOPS_METRICS_PORT": str(port),
                "CELERYOPS_METRICS_ADDRESS": "127.0.0.1",
                **changes,
            }
            log = tmp_path / f"{arguments[0]}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "tiny", *arguments],
                    cwd=HERE,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

            def end() -> None:
                # The whole session: a killed worker would leave its children behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(DEADLINE)

            stack.callback(end)
            return Running(process, state, log, environment, port)

        yield run


@pytest.fixture
def worker(start: Callable[..., Running]) -> Callable[..., Running]:
    """A worker that consumes."""

    def run(*arguments: str, **changes: str) -> Running:
        flags = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=info"]
        running = start("worker", "--queues=a,b", "--concurrency=2", *flags, *arguments, **changes)
        wait_until(lambda: running.passes("ready"), "a worker that consumes")
        return running

    return run


@pytest.fixture
def beat(start: Callable[..., Running], tmp_path: Path) -> Callable[..., Running]:
    """A beat that ticks."""

    def run() -> Running:
        schedule = str(tmp_path / "schedule")
        running = start("beat", "--schedule", schedule, "--loglevel=info", CELERYOPS_SILENCE_LIMIT="2")
        wait_until(lambda: running.passes("ready"), "a beat that ticks")
        return running

    return run


@pytest.fixture
def app(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The application in this process, as a producer."""
    monkeypatch.setenv("TINY_URL", redis.url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("tiny", None)
    import tiny

    yield tiny.app
    # Results unsubscribe when they are collected: now, while there is a server.
    gc.collect()
    tiny.app.close()
    sys.modules.pop("tiny", None)
