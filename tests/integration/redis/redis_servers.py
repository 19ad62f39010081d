# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Redis servers on loopback, started by the role's own scripts: one master and two replicas."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
import yaml

ROLE = Path(__file__).parents[3] / "roles" / "redis"
FILES = ROLE / "files"
SETTINGS = jinja2.Template((ROLE / "templates" / "redis.conf.j2").read_text(encoding="utf-8")).render(
    yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
)
# Whatever a user may put into the Secret has to come through start.sh, redis-cli and the probe's script.
PASSWORD = "p\"a'ss \\w$HOME `id`  #ö%s\\"  # noqa: S105
HOSTS = ("127.0.1.1", "127.0.1.2", "127.0.1.3")


@dataclass
class Group:
    """Three servers, one per loopback address, on one port."""

    folder: Path
    port: int
    processes: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def environment(self, number: int) -> dict[str, str]:
        folder = self.folder / str(number)
        for name in ("data", "run"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        settings = folder / "settings.conf"
        settings.write_text(SETTINGS.replace("bind * -::*", f"bind {HOSTS[number]}"), encoding="utf-8")
        return {
            "PATH": os.environ["PATH"],
            "REDISCLI_AUTH": PASSWORD,
            "POD_NAME": f"redis-{number}",
            "POD_IP": HOSTS[number],
            "REDIS_HOSTS": " ".join(HOSTS),
            "REDIS_PORT": str(self.port),
            "REDIS_DATA": str(folder / "data"),
            "REDIS_RUN": str(folder / "run"),
            "REDIS_SETTINGS": str(settings),
            "REDIS_MEMORY_LIMIT": str(256 * 1024 * 1024),
            "REDIS_MAXMEMORY_PERCENT": "50",
            "REDIS_PATIENCE": "60",
        }

    def launch(self, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["/bin/sh", str(FILES / "start.sh")],
            env=self.environment(number),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def start(self, number: int, until: str) -> None:
        """Starts a server and reads its log until the line that says it is there."""
        self.processes[number] = self.launch(number)
        self.read_log(number, until)

    def read_log(self, number: int, until: str) -> None:
        process = self.processes[number]
        log, seen = process.stdout, []
        assert log is not None
        # A server that never gets there ends this way instead of holding the tests up.
        bound = threading.Timer(120, process.kill)
        bound.start()
        try:
            for line in log:
                seen.append(line)
                if re.search(until, line):
                    return
        finally:
            bound.cancel()
        raise AssertionError(f"the server ended without {until!r}: " + "".join(seen))

    def stop(self, number: int) -> None:
        process = self.processes.pop(number)
        process.terminate()
        process.communicate(timeout=30)

    def lose_volume(self, number: int) -> None:
        shutil.rmtree(self.folder / str(number) / "data")

    def run(self, script: str, number: int, **extra: str) -> subprocess.CompletedProcess[str]:
        """One of the role's scripts, as the kubelet would run it."""
        return subprocess.run(
            ["/bin/sh", str(FILES / script)],
            env={**self.environment(number), **extra},
            capture_output=True,
            text=True,
            check=False,
        )

    def cli(self, number: int, *command: str) -> str:
        return subprocess.run(
            ["redis-cli", "--no-auth-warning", "-h", HOSTS[number], "-p", str(self.port), *command],
            env=self.environment(number),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOSTS[0], 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def group_of_three(folder: Path) -> Iterator[Group]:
    group = Group(folder, free_port())
    try:
        group.start(0, "Ready to accept connections")
        for number in (1, 2):
            group.start(number, "MASTER <-> REPLICA sync: Finished with success")
        yield group
    finally:
        for number in reversed(list(group.processes)):
            group.stop(number)
