# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests of delivery."""

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
from celery_running import FILES, Redis, Running
from delivery_running import HERE, LEASE, Book, Worker
from helpers.servers import DEADLINE, free_port, wait_until


@pytest.fixture
def fleet(redis: Redis, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts a worker that consumes, by name; everything ends with the test. Times are a tenth of the real ones."""
    with contextlib.ExitStack() as stack:

        def run(name: str, *arguments: str, mingle: bool = False, **changes: str) -> Worker:
            state = tmp_path / f"state-{name}"
            state.mkdir(exist_ok=True)
            port = free_port()
            environment = {
                **os.environ,
                "KEPT_URL": redis.url,
                "PYTHONPATH": str(FILES),
                "CELERYOPS_STATE_DIR": str(state),
                "CELERYOPS_INTERVAL": "0.5",
                "CELERYOPS_SILENCE_LIMIT": "20",
                "CELERYOPS_LEASE": str(LEASE),
                "CELERYOPS_METRICS_PORT": str(port),
                "CELERYOPS_METRICS_ADDRESS": "127.0.0.1",
                "REMAP_SIGTERM": "SIGQUIT",
                **changes,
            }
            flags = ["--without-gossip", "--without-heartbeat", "--loglevel=info"]
            flags += [] if mingle else ["--without-mingle"]
            command = ["worker", "--queues=a,b", "--concurrency=2", f"--hostname={name}@%h", *flags, *arguments]
            log = tmp_path / f"{name}.log"
            with log.open("ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "kept", *command],
                    cwd=HERE,
                    env=environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )

            def end() -> None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(DEADLINE)

            stack.callback(end)
            running = Running(process, state, log, environment, port)
            wait_until(lambda: running.passes("ready"), f"worker {name} that consumes")
            return Worker(name, running)

        yield run


@pytest.fixture
def book(redis: Redis) -> Book:
    return Book(redis)


@pytest.fixture
def kept(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """The application in this process, as a producer."""
    monkeypatch.setenv("KEPT_URL", redis.url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("kept", None)
    import kept

    yield kept.app
    # Results unsubscribe when they are collected: now, while there is a server.
    gc.collect()
    kept.app.close()
    sys.modules.pop("kept", None)
