# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one command and takes what the system and the API server have counted of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AuditLog", "Run", "run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a whole command.

    `wall` and `cpu` are seconds, `cpu` of all its processes together. `memory` is the resident peak in MiB of the
    largest of them, as wait4 tells it. `agents` counts the API requests by user agent.
    """

    wall: float
    cpu: float
    memory: float
    agents: Mapping[str, int]

    @property
    def requests(self) -> int:
        return sum(self.agents.values())


class AuditLog:
    """The API server's own record of requests, which it writes before it answers."""

    def __init__(self, path: Path, user: str) -> None:
        self._path = path
        self._user = user

    def mark(self) -> int:
        return self._path.stat().st_size

    def since(self, mark: int) -> Counter[str]:
        """Requests of the user by agent, e.g. {"kubectl": 12}."""
        with self._path.open("rb") as log:
            log.seek(mark)
            events = [json.loads(line) for line in log]
        mine = [event for event in events if event["user"]["username"] == self._user]
        return Counter(event.get("userAgent", "").partition("/")[0] for event in mine)


def run(command: Sequence[str], environment: Mapping[str, str], folder: Path, audit: AuditLog) -> Run:
    """Runs `command` to its end. Raises RuntimeError with its last lines where it fails."""
    said = folder / "output.log"
    mark = audit.mark()
    with said.open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        _pid, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = "\n".join(said.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{tail}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, dict(audit.since(mark)))
