# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a writer's log says about failures: how long nothing could be written, and what was lost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import writer

__all__ = ["Gap", "Seen", "merged", "round_of", "seen"]


# Seconds.
_LASTING = 5.0


@dataclass(frozen=True)
class Gap:
    """From the last write that was acknowledged to the next one, in seconds of the writer's own clock.

    Without `errors` the pooler held the write back until it could be done.
    """

    start: float
    end: float
    attempts: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What a writer has told so far: the last number acknowledged, how often it connected, and its gaps."""

    acknowledged: int = 0
    connections: int = 0
    gaps: tuple[Gap, ...] = ()


def seen(log: str) -> Seen:
    """A writer's log. A line that is cut off, because it is being written, is left out."""
    found, gaps = Seen(), []
    for line in log.splitlines():
        if not line.startswith(writer.MARK):
            continue
        try:
            told = json.loads(line.removeprefix(writer.MARK))
        except ValueError:
            continue
        if gap := told.get("gap"):
            gaps.append(Gap(gap["from"], gap["to"], gap["attempts"], tuple(gap["errors"])))
        found = Seen(told["acknowledged"], told["connections"])
    return Seen(found.acknowledged, found.connections, tuple(gaps))


def merged(gaps: Sequence[Gap]) -> list[Gap]:
    """Gaps with less than some seconds of good writes between them as one: writes were not good for good yet."""
    found: list[Gap] = []
    for gap in gaps:
        if found and gap.start - found[-1].end < _LASTING:
            last = found.pop()
            gap = Gap(last.start, gap.end, last.attempts + gap.attempts, last.errors + gap.errors)  # noqa: PLW2901
        found.append(gap)
    return found


def round_of(victim: str, leaders: tuple[str, str], gaps: Sequence[Gap], acknowledged: int, lost: int) -> Round:
    """One failure, by the longest gap of its time: another one is the machine's own, or somebody else's."""
    longest = max(merged(gaps), key=lambda gap: gap.end - gap.start, default=None)
    return Round(
        engine="postgresql",
        victim=victim,
        before=leaders[0],
        after=leaders[1],
        gap=round(longest.end - longest.start, 3) if longest else 0.0,
        began=longest.start if longest else None,
        ended=longest.end if longest else None,
        acknowledged=acknowledged,
        lost=lost,
        errors=dict(Counter(longest.errors if longest else ())),
    )
