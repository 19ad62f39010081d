# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a writer's log says about failures: how long nothing could be written, and what was lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._postgres import writer

__all__ = ["Gap", "Report", "Seen", "Strike", "merged", "percentile", "seen", "strike"]


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


@dataclass(frozen=True)
class Strike:
    """One failure. `gap` is from the last good to the first lasting good write, 0 when none was disturbed.

    `attempts` is how often the write in question was tried: 1 when it was only held back.
    """

    kind: str
    pod: str
    leader_before: str
    leader_after: str
    gap: float
    attempts: int
    acknowledged: int
    lost: int
    errors: tuple[str, ...] = ()

    @property
    def failover(self) -> bool:
        return self.leader_before != self.leader_after


@dataclass(frozen=True)
class Report:
    """Strikes of one kind, in order."""

    kind: str
    strikes: tuple[Strike, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        gaps = [strike.gap for strike in self.strikes]
        return {
            "kind": self.kind,
            "strikes": [asdict(strike) for strike in self.strikes],
            "failovers": sum(strike.failover for strike in self.strikes),
            "gap_seconds": {"p50": percentile(gaps, 50), "p95": percentile(gaps, 95), "max": max(gaps, default=0.0)},
            "acknowledged": max((strike.acknowledged for strike in self.strikes), default=0),
            "lost": sum(strike.lost for strike in self.strikes),
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured, and the largest one where there are few. 0 without values."""
    if not values:
        return 0.0
    rank = -(-len(values) * share // 100)
    return sorted(values)[max(0, int(rank) - 1)]


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


def strike(kind: str, pod: str, leaders: tuple[str, str], gaps: Sequence[Gap], acknowledged: int, lost: int) -> Strike:
    """One failure, by the longest gap of its time: another one is the machine's own, or somebody else's."""
    longest = max(merged(gaps), key=lambda gap: gap.end - gap.start, default=Gap(0, 0, 0, ()))
    return Strike(
        kind=kind,
        pod=pod,
        leader_before=leaders[0],
        leader_after=leaders[1],
        gap=round(longest.end - longest.start, 3),
        attempts=longest.attempts,
        acknowledged=acknowledged,
        lost=lost,
        errors=tuple(dict.fromkeys(longest.errors)),
    )
