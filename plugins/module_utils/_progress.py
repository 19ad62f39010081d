# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's end of live progress: lines that are shown while the task runs, and kept for its result."""

from __future__ import annotations

import os
from collections.abc import Callable

__all__ = ["CHANNEL", "LONGEST", "Report", "Reporter"]

# The environment variable in which the action plugin names the FIFO that it reads lines from.
CHANNEL = "CELERYOPS_PROGRESS"
# Bytes. What is no longer than PIPE_BUF (4096) goes into a FIFO whole or not at all.
LONGEST = 1000

Report = Callable[[str], None]


class Reporter:
    """Called with a line of text, keeps it in `lines` and, where somebody listens, has it shown at once.

    A line that cannot be shown, because nobody listens or reads fast enough, is no error: `lines` has it.
    """

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._channel: int | None = None
        self._tried = False

    def __call__(self, line: str) -> None:
        # The cluster's messages stand in it, and a terminal obeys more than letters.
        text = "".join(letter if letter.isprintable() else " " for letter in line)
        self._lines.append(text)
        channel = self._open()
        if channel is not None:
            try:
                os.write(channel, text.encode()[:LONGEST] + b"\n")
            except BlockingIOError:
                return
            except OSError:
                os.close(channel)
                self._channel = None

    def _open(self) -> int | None:
        path = os.environ.get(CHANNEL)
        if path and not self._tried:
            self._tried = True
            try:
                self._channel = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return None
        return self._channel
