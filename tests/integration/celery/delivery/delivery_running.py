# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers by name, the ways in which they die, and what their tasks wrote down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis as client_library
from celery_running import FILES, Redis, Running
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import Call, Execute

HERE = Path(__file__).resolve().parent
# Seconds of silence after which a worker has lost its messages: a tenth of the role's default
LEASE = 3.0


PODS = [
    {
        "metadata": {"name": "celery-worker-1", "namespace": "shop"},
        "spec": {"containers": [{"name": "worker"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
]


def container(url: str) -> Execute:
    """The part of a worker's container is played by a process with the same path and environment."""

    def execute(call: Call) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *call.command[1:]],
            cwd=HERE,
            env={**os.environ, "KEPT_URL": url, "PYTHONPATH": str(FILES)},
            input=call.stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=call.timeout,
        )
        return done.returncode, done.stdout, done.stderr

    return execute


def send(app: Any, name: str, *args: Any, **options: Any) -> str:
    """The id of a task of the application ``kept``."""
    return str(app.tasks[f"kept.{name}"].apply_async(args, **options).id)


@dataclass
class Worker:
    name: str
    running: Running

    @property
    def pid(self) -> int:
        return self.running.process.pid

    def send(self, number: signal.Signals) -> None:
        """To the whole pod: every process of the worker."""
        os.killpg(self.pid, number)

    def kill(self) -> None:
        """As the kernel or a node that dies does it: main process and children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.running.process.wait(30)

    @property
    def log(self) -> str:
        return self.running.log.read_text()


class Book:
    """What Redis says: the notes of the tasks, the broker's keys, and the ledger's."""

    def __init__(self, server: Redis, prefix: str = "") -> None:
        self.client = client_library.Redis.from_url(server.url, decode_responses=True)
        self.prefix = prefix

    def notes(self, task: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.client.lrange(f"ran:{task}", 0, -1)]

    def count(self, task: str, what: str) -> int:
        return sum(1 for line in self.notes(task) if line["what"] == what)

    def started(self, task: str) -> int:
        return self.count(task, "started")

    def finished(self, task: str) -> int:
        return self.count(task, "finished")

    def on(self, task: str) -> str:
        """The worker of the newest start, without the host's name."""
        return str(self.notes(task)[-1]["worker"].split("@")[0])

    def key(self, name: str) -> str:
        return self.prefix + name

    def unacked(self) -> int:
        return int(self.client.hlen(self.key("unacked")))

    def queued(self, queue: str = "a") -> int:
        steps = ["", *(f"\x06\x16{step}" for step in range(1, 10))]
        return sum(int(self.client.llen(self.key(queue + step))) for step in steps)

    def dead(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.client.hvals(self.key("celeryops:dead"))]

    def left_over(self) -> list[str]:
        """Keys of the ledger, and of kombu's own, that nothing is held by any more; a worker's lease is none."""
        wait = {self.key("celeryops:workers"), self.key("celeryops:dead")}
        names = [*self.client.keys(self.key("celeryops:*")), *self.client.keys(self.key("unacked*"))]
        return sorted(name for name in names if name not in wait)

    def wait_started(self, *tasks: str, times: int = 1) -> None:
        wait_until(lambda: all(self.started(task) >= times for task in tasks), f"{times} starts of {len(tasks)} tasks")

    def wait_finished(self, *tasks: str) -> None:
        wait_until(lambda: all(self.finished(task) for task in tasks), f"the end of {len(tasks)} tasks")
