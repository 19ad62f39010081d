# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program with its output in a log file, and stops it when the whole build is given up."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import diagnosis
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Cancelled", "Runner", "last_line"]


class Cancelled(Exception):
    """The build was given up because another part of it failed."""


class Runner:
    """Runs the commands of one artifact one after another."""

    def __init__(self, name: str, log: Path, cancel: threading.Event) -> None:
        self.name = name
        self.log = log
        self._cancel = cancel
        log.write_text("", encoding="utf-8")

    def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Raises CeleryOpsError with the end of the log when the command fails."""
        with self.log.open("ab") as log:
            log.write(f"+ {' '.join(argv)}\n".encode())
            log.flush()
            try:
                process = subprocess.Popen(  # pylint: disable=ansible-bad-function
                    argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=cwd, env=env
                )
            except FileNotFoundError as error:
                raise self.failed(
                    f"the program {argv[0]} is not installed",
                    remedy="set `artifacts_install_packages: true`, or install its package",
                ) from error
            try:
                self._wait(process)
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        if process.returncode != 0:
            raise self.failed(f"{Path(argv[0]).name} ended with {process.returncode}")

    def _wait(self, process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            if self._cancel.wait(0.1):
                raise Cancelled

    def output(self, argv: Sequence[str]) -> str:
        """What a short command prints."""
        done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # pylint: disable=ansible-bad-function
        return done.stdout + done.stderr

    def failed(self, what: str, *, remedy: str | None = None) -> CeleryOpsError:
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return CeleryOpsError(
            f"{self.name}: {what}",
            expected="a build that succeeds",
            found=f"the log {self.log} ends with:\n{diagnosis.tail(text)}",
            remedy=remedy or diagnosis.remedy(text),
            artifact=self.name,
            log=str(self.log),
        )


def last_line(log: Path) -> str:
    """The last line of a growing log, empty when there is none."""
    try:
        with log.open("rb") as handle:
            handle.seek(0, 2)
            handle.seek(max(0, handle.tell() - 4096))
            lines = handle.read().decode(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else ""
