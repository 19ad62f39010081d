# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting in a drill: for as long as it may take, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["in_vain", "wait_until"]


def wait_until(ready: Callable[[], object], timeout: float, late: Callable[[], CeleryOpsError], pause: float) -> None:
    """Returns when ``ready`` answers something true; raises what ``late`` makes after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > end:
            raise late()
        # Whoever is asked is not to be asked all the time.
        time.sleep(pause)


def in_vain(what: str, timeout: float, found: str, remedy: str) -> CeleryOpsError:
    return CeleryOpsError(
        f"The drill waited in vain for {what}", expected=f"{what} within {timeout:g} s", found=found, remedy=remedy
    )
