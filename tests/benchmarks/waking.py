# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a task takes to an idle worker and back, and what being idle costs: leases beside stock Celery, in turn.

Each contender has a Redis and workers of its own on loopback, all at once. One worker alone, then as many as FLEET on
QUEUES queues of four priorities each: all of them are woken by each message, and one gets it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import redis
from celery import Celery
from helpers.servers import free_port, wait_until
from integration.celery.celery_running import FILES, HERE, PASSWORD, QUOTED, Redis

from .report import Target, grid

__all__ = ["ASKING", "LEASE", "STOCK", "Figures", "measure", "table", "targets"]

LEASE, ASKING, STOCK = "lease", "lease, no tracking", "stock"
FLEET, QUEUES = 5, 8
# Milliseconds that a message may take to a worker that waits, beside stock Celery
LIMIT = 10.0
# Seconds of being idle, and between two messages: none finds a worker that still looks for the next one.
IDLE, PAUSE = 20.0, 0.05


@dataclass
class Contender:
    """Workers of one kind, with the server that they alone use."""

    name: str
    server: Redis
    workers: list[subprocess.Popen[bytes]]
    app: Celery
    taken: list[float] = field(default_factory=list)

    def send(self, number: int) -> None:
        started = time.perf_counter()
        result = self.app.send_task("tiny.add", (number, 1), queue=f"q{number % QUEUES}", priority=3 * (number % 4))
        result.get(timeout=60, interval=0.001)
        self.taken.append(time.perf_counter() - started)

    def cpu(self) -> tuple[float, float]:
        """Seconds of CPU so far: the workers', and Redis'."""
        assert self.server.process is not None
        return sum(_cpu(worker.pid) for worker in self.workers), _cpu(self.server.process.pid)


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds. `idle` is of CPU in each second of one worker; `worker_cpu` and `redis_cpu` are of one message."""

    contender: str
    workers: int
    wall_min: float
    wall_median: float
    wall_ratio: float
    idle: float
    worker_cpu: float
    redis_cpu: float


def measure(repetitions: int) -> list[Figures]:
    return [row for number in (1, FLEET) for row in _one(number, repetitions)]


def _one(number: int, repetitions: int) -> list[Figures]:
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(_contender(name, number)) for name in (LEASE, ASKING, STOCK)]
        for contender in contenders:
            # What does not count: connections are made, and every queue has been used.
            for message in range(QUEUES):
                contender.send(message)
            contender.taken.clear()
        before = [contender.cpu() for contender in contenders]
        time.sleep(IDLE)
        rested = [contender.cpu() for contender in contenders]
        for message in range(repetitions):
            # Who was first is last the next time.
            for contender in contenders if message % 2 else reversed(contenders):
                contender.send(message)
                time.sleep(PAUSE)
        after = [contender.cpu() for contender in contenders]
        stock = contenders[-1].taken
        rows = []
        for contender, (start, _), (rest, rest_redis), (end, end_redis) in zip(
            contenders, before, rested, after, strict=True
        ):
            rows.append(
                Figures(
                    contender.name,
                    number,
                    1000 * min(contender.taken),
                    1000 * median(contender.taken),
                    median(mine / theirs for mine, theirs in zip(contender.taken, stock, strict=True)),
                    1000 * (rest - start) / IDLE / number,
                    1000 * (end - rest) / repetitions,
                    1000 * (end_redis - rest_redis) / repetitions,
                )
            )
    return rows


def _cpu(pid: int) -> float:
    """Of all threads, as the scheduler has counted it in nanoseconds."""
    counted = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            counted += int((task / "schedstat").read_text().split()[0])
    return counted / 1e9


@contextlib.contextmanager
def _contender(name: str, number: int) -> Iterator[Contender]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Redis(folder)
        server.start()
        stack.callback(server.stop)
        url = server.url
        if name == ASKING:
            # As on a server that does not have it, or does not allow it
            rules = f"ACL SETUSER shop on >{PASSWORD} ~* &* +@all -client|tracking"
            _say(server, *rules.split())
            url = url.replace(f":{QUOTED}", f"shop:{QUOTED}")
        app = Celery("bench", broker=server.url, backend=server.url)
        app.conf.broker_transport_options = {"socket_timeout": 5}
        stack.callback(app.close)
        # Results unsubscribe when they are collected: while there is a server.
        stack.callback(gc.collect)
        workers = [stack.enter_context(_worker(folder / str(each), url, name)) for each in range(number)]
        yield Contender(name, server, workers, app)


def _say(server: Redis, *words: str) -> None:
    redis.Redis.from_url(server.url).execute_command(*words)


@contextlib.contextmanager
def _worker(folder: Path, url: str, name: str) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir()
    environment = {
        **os.environ,
        "TINY_URL": url,
        "PYTHONPATH": str(FILES),
        "CELERYOPS_STATE_DIR": str(folder),
        "CELERYOPS_METRICS_ADDRESS": "127.0.0.1",
        "CELERYOPS_METRICS_PORT": str(free_port()),
        "CELERYOPS_LEASE": "0" if name == STOCK else "30",
    }
    queues = ",".join(f"q{queue}" for queue in range(QUEUES))
    # A thread that is done does not wake a consumer that waits for its only one.
    flags = ["--pool=threads", "--concurrency=2", f"--queues={queues}", f"--hostname={folder.name}@bench"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    command = [sys.executable, "-m", "celery", "-A", "tiny", "worker", *flags, *quiet]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=HERE, env=environment, stdout=log, stderr=log)
    try:
        wait_until((folder / "ready").exists, "a worker that consumes")
        yield process
    finally:
        process.terminate()
        process.wait(60)


def table(found: list[Figures]) -> str:
    """In reStructuredText."""
    heads = ["workers", "contender", "min", "median", "ratio", "idle", "per message", "Redis"]
    lines = [
        (
            str(row.workers),
            row.contender,
            f"{row.wall_min:.1f} ms",
            f"{row.wall_median:.1f} ms",
            f"{row.wall_ratio:.2f}",
            f"{row.idle:.2f} ms/s",
            f"{row.worker_cpu:.1f} ms",
            f"{row.redis_cpu:.2f} ms",
        )
        for row in found
    ]
    return grid(heads, lines)


def targets(found: list[Figures]) -> list[Target]:
    """How much longer a task takes by a lease."""
    medians: dict[tuple[str, int], float] = {(row.contender, row.workers): row.wall_median for row in found}
    return [
        Target(f"{workers} idle, longer than {STOCK}, ms", medians[LEASE, workers] - medians[STOCK, workers], LIMIT)
        for workers in (1, FLEET)
    ]


def content(found: list[Figures]) -> dict[str, Any]:
    """What goes into the JSON file beside the machine."""
    return {"rows": [{name: getattr(row, name) for name in Figures.__slots__} for row in found]}
