# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis servers, and real workers and beats that carry the files of role celery_pod."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from helpers.servers import DEADLINE, free_port, wait_until

HERE = Path(__file__).resolve().parent
FILES = HERE.parents[2] / "roles/celery_pod/files"
PASSWORD = "p@ss/word:#1"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting
QUOTED = "p%40ss%2Fword%3A%231"


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
