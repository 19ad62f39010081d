# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill of Redis showed: how long nobody could write, and what became of the writes that were acknowledged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

__all__ = ["FAILED_OVER", "RESTARTED", "Budget", "Round", "percentile", "problems", "round_of", "summary"]

# Two kinds kept apart: the same pod was up again before it was given up, or another one took its place.
RESTARTED = "restarted in place"
FAILED_OVER = "failed over"


@dataclass(frozen=True)
class Round:
    """One kill of the master. ``gap`` is in seconds, from the last good write before it to the first after it; None
    where there was none after it. Of the writes that a replica refused, ``replica_steady`` came outside of the gap."""

    kill: str
    victim: str
    successor: str
    gap: float | None
    acknowledged: int
    lost: int
    replica: int = 0
    replica_steady: int = 0
    errors: Mapping[str, int] | None = None

    @property
    def kind(self) -> str:
        return RESTARTED if self.victim == self.successor else FAILED_OVER

    def report(self) -> dict[str, Any]:
        return {
            "kill": self.kill,
            "victim": self.victim,
            "successor": self.successor,
            "kind": self.kind,
            "gap": self.gap,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "reached_a_replica": self.replica,
            "reached_a_replica_steady": self.replica_steady,
            "errors": dict(self.errors or {}),
        }


@dataclass(frozen=True)
class Budget:
    """What is allowed: seconds of the gap's 95th percentile, lost writes, writes to a replica in steady state."""

    gap_p95: float = 10.0
    lost: int = 0
    replica_steady: int = 0


def round_of(kill: str, victim: str, successor: str, killed_at: float, answer: Mapping[str, Any]) -> Round:
    """From the writer's answer, and when the master was killed, by the writer's clock."""
    acknowledged = [(int(number), float(at)) for number, at in answer["acknowledged"]]
    errors = [(float(at), str(words)) for at, words in answer["errors"]]
    before = [at for _number, at in acknowledged if at <= killed_at]
    # What was on its way is still answered after the kill: the gap is the longest silence from then on.
    times = [before[-1] if before else killed_at, *(at for _number, at in acknowledged if at > killed_at)]
    silences = [(end - start, start, end) for start, end in pairwise(times)]
    gap, begin, end = max(silences) if silences else (None, times[0], math.inf)
    refused = [at for at, words in errors if words.startswith("READONLY")]
    kept = set(answer["kept"])
    return Round(
        kill=kill,
        victim=victim,
        successor=successor,
        gap=None if gap is None else round(gap, 3),
        acknowledged=len(acknowledged),
        lost=sum(1 for number, _at in acknowledged if number not in kept),
        replica=len(refused),
        replica_steady=sum(1 for at in refused if not begin <= at <= end),
        errors=dict(Counter(words.split(" ", 1)[0].rstrip(":") for _at, words in errors)),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(rounds: Sequence[Round]) -> list[dict[str, Any]]:
    """A line for each way of killing and each kind of recovery."""
    groups: dict[tuple[str, str], list[Round]] = {}
    for one in rounds:
        groups.setdefault((one.kill, one.kind), []).append(one)
    lines = []
    for (kill, kind), members in sorted(groups.items()):
        gaps = [one.gap for one in members if one.gap is not None]
        figures = {"p50": percentile(gaps, 0.5), "p95": percentile(gaps, 0.95), "max": max(gaps)} if gaps else {}
        lines.append(
            {
                "kill": kill,
                "kind": kind,
                "rounds": len(members),
                "gap": figures,
                "acknowledged": sum(one.acknowledged for one in members),
                "lost": sum(one.lost for one in members),
                "reached_a_replica": sum(one.replica for one in members),
                "reached_a_replica_steady": sum(one.replica_steady for one in members),
            }
        )
    return lines


def problems(rounds: Sequence[Round], budget: Budget) -> list[str]:
    """Why the drill failed; nothing when it passed."""
    told = []
    for number, one in enumerate(rounds, 1):
        if one.gap is None:
            told.append(
                f"round {number}: after {one.victim} was killed ({one.kill}) no write was acknowledged any more"
            )
    gaps = [one.gap for one in rounds if one.gap is not None]
    if gaps and percentile(gaps, 0.95) > budget.gap_p95:
        told.append(f"95 % of the gaps are within {percentile(gaps, 0.95):g} s, {budget.gap_p95:g} s allowed")
    lost, steady = sum(one.lost for one in rounds), sum(one.replica_steady for one in rounds)
    if lost > budget.lost:
        told.append(
            f"{lost} of {sum(one.acknowledged for one in rounds)} acknowledged writes lost, {budget.lost} allowed"
        )
    if steady > budget.replica_steady:
        told.append(f"{steady} writes reached a replica in steady state, {budget.replica_steady} allowed")
    return told
