# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that probe.sh reads: until when may this process be silent?"""

from __future__ import annotations

import contextlib
import os

__all__ = ("STATE_DIR", "Deadline", "seconds", "uptime")

STATE_DIR = os.environ.get("CELERYOPS_STATE_DIR", "/run/celeryops")


def seconds(name, default):
    """A duration in seconds from the environment."""
    return float(os.environ.get(name) or default)


def uptime():
    """Seconds since boot as probe.sh sees them, container file systems that rewrite /proc included."""
    with open("/proc/uptime") as file:  # noqa: PTH123  the cheapest way, every few seconds for ever
        return float(file.read().split(None, 1)[0])


class Deadline:
    """One file with the line ``<silent until> <written at> <what it said>``, times in seconds of uptime."""

    def __init__(self, name, directory=STATE_DIR):
        self.path = os.path.join(directory, name)  # noqa: PTH118

    def allow(self, duration, what):
        """Silence is fine for ``duration`` seconds from now."""
        now = uptime()
        # A probe must never read half a line.
        draft = self.path + ".new"
        with open(draft, "w") as file:  # noqa: PTH123
            file.write(f"{int(now + duration)} {int(now)} {what}\n")
        os.replace(draft, self.path)  # noqa: PTH105

    def drop(self):
        """From now on the probe fails."""
        # A consumer may stop more than once.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108
