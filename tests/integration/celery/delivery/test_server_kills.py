# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of the broker, or of the result backend, is killed again and again under load: workers consume on."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import HERE, Book, Worker, send
from helpers.servers import DEADLINE

Fleet = Callable[..., Worker]
KILLS = 20
TASKS = 4


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Redis]:
    """What it has answered is on disk."""
    folder = tmp_path / "victim"
    folder.mkdir()
    server = Redis(folder, "--appendonly", "yes", "--appendfsync", "always")
    server.start()
    yield server
    server.stop()


@pytest.mark.heavy
@pytest.mark.parametrize("part", ["KEPT_BROKER", "KEPT_BACKEND"])
def test_workers_go_on(part: str, fleet: Fleet, victim: Redis, redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes of the tasks are with a third server, which stays."""
    monkeypatch.setenv("KEPT_URL", redis.url)
    monkeypatch.setenv(part, victim.url)
    monkeypatch.syspath_prepend(str(HERE))
    sys.modules.pop("kept", None)
    app: Any = importlib.import_module("kept").app
    book = Book(redis)
    workers = [fleet(name, **{part: victim.url}) for name in ("first", "second")]
    for _kill in range(KILLS):
        tasks = [send(app, "work", 0.5) for _ in range(TASKS)]
        book.wait_started(tasks[0])
        assert victim.process is not None
        victim.send(signal.SIGKILL)
        victim.process.wait()
        victim.start()
        book.wait_finished(*tasks)
        # Not how often each started: a child may have begun what its worker, without a broker, had to give back.
        assert [app.AsyncResult(task).get(timeout=DEADLINE) for task in tasks] == [0.5] * TASKS
    assert [worker.running.process.poll() for worker in workers] == [None, None]
    app.close()
    sys.modules.pop("kept", None)
