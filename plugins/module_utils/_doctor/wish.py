# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What somebody wants to have looked at. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Wish"]


@dataclass(frozen=True)
class Wish:
    """What is to be looked at. Durations in seconds."""

    namespace: str
    workers: tuple[str, ...] = ()
    beats: tuple[str, ...] = ()
    replicas: Mapping[str, int] | None = None
    queues: tuple[str, ...] = ()
    app: str | None = None
    python: str = "python"
    connections: int = 10
    within: float = 2.0
    timeout: float = 20.0
