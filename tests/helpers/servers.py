# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests that start servers on loopback share."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable

import pytest

__all__ = ["DEADLINE", "answers", "free_port", "wait_until"]

# Seconds after which a server that does not come up is a failure; no test waits this long when all is well.
DEADLINE = 60


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], object], what: str) -> None:
    """Returns when `ready` answers something true; fails the test after DEADLINE seconds."""
    end = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {DEADLINE} s")
        time.sleep(0.05)


def answers(port: int) -> Callable[[], bool]:
    """For wait_until: whether something on 127.0.0.1 takes connections on the port."""

    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return ready
