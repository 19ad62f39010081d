# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis servers, and real workers and beats that carry the files of role celery_pod."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
FILES = HERE.parents[2] / "roles/celery_pod/files"
PASSWORD = "p@ss/word:#1"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting
QUOTED = "p%40ss%2Fword%3A%231"
DEADLINE = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {DEADLINE} s")
        time.sleep(0.05)


class Redis:
    """A server that can be stopped and started again on the same port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_port()
        self.folder = folder
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{QUOTED}@127.0.0.1:{self.port}/0"

    @property
    def bare_url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        login = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--save", ""]
        self.process = subprocess.Popen([*command, *login, *self.options], stdout=subprocess.DEVNULL)

        def answers() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        wait_until(answers, "redis-server")

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(DEADLINE)
            self.process = None


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


@dataclass
class Running:
    """A worker or a beat, and what a kubelet would do with it."""

    process: subprocess.Popen[bytes]
    state: Path
    log: Path
    environment: dict[str, str]
    port: int

    def probe(self, name: str) -> tuple[bool, str]:
        done = subprocess.run(
            ["sh", FILES / "probe.sh", name],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode == 0, done.stdout

    def passes(self, name: str) -> bool:
        return self.probe(name)[0]

    def fails(self, name: str) -> bool:
        return not self.probe(name)[0]

    def scrape(self) -> dict[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


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
