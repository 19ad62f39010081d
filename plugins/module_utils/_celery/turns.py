# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether several schedulers may run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["take_turns"]


def take_turns(container: Mapping[str, Any]) -> bool:
    """Whether an election (role celery_beat) or a lock (redbeat) lets one of several act: the others stand by."""
    elects = any(one["name"] == "CELERYOPS_LEASE" for one in container.get("env") or ())
    words = " ".join(map(str, (*(container.get("command") or ()), *(container.get("args") or ()))))
    return elects or "redbeat" in words.lower()
