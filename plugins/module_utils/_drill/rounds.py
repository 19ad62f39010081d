# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures under a client that writes: how long nobody could write, and what became of what was acknowledged.

Two kinds are kept apart. ``in_place``: who was the master or primary before is so afterwards, after a restart for
instance. ``failover``: another one took its place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget

__all__ = ["FAILOVER", "IN_PLACE", "Engine", "Round", "Struck", "percentile", "problems", "strike", "summary"]

Json = dict[str, Any]
Struck = Callable[[float | None], None]  # pylint: disable=unsupported-binary-operation
IN_PLACE, FAILOVER = "in_place", "failover"


@dataclass(frozen=True)
class Round:
    """One failure. ``gap`` in seconds: from the last good write before it to the first of those that last.

    None where none was acknowledged any more; 0 where none was disturbed. ``began`` and ``ended`` are those two writes,
    by the client's clock. Of the writes that a replica refused, ``replica_steady`` came outside of the gap.
    """

    engine: str
    victim: str
    before: str
    after: str
    gap: float | None
    began: float | None = None
    ended: float | None = None
    acknowledged: int = 0
    lost: int = 0
    replica: int = 0
    replica_steady: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return IN_PLACE if self.before == self.after else FAILOVER

    def report(self) -> Json:
        return {
            "engine": self.engine,
            "victim": self.victim,
            "before": self.before,
            "after": self.after,
            "kind": self.kind,
            "gap": self.gap,
            "acknowledged": self.acknowledged,
            "lost": self.lost,
            "reached_a_replica": self.replica,
            "reached_a_replica_steady": self.replica_steady,
            "errors": dict(self.errors),
        }


class Engine(Protocol):
    """Redis or PostgreSQL, and a client that writes to it."""

    name: str

    def refuse(self) -> None:
        """Raises CeleryOpsError where there is none to drill, or it is not whole."""

    def open(self, avoid: str = "") -> None:
        """Brings a client up, on another node than ``avoid``."""

    def begin(self) -> None:
        """Waits until nothing is missing, and has the client write."""

    def hit(self, kind: str, struck: Struck) -> str:
        """Makes a failure; whom it hit. ``struck`` is called at that moment, with the time where a node tells it."""

    def end(self, victim: str) -> Round:
        """Waits until nothing is missing again, and tells what became of the writes."""

    def close(self) -> None:
        """Removes what ``open`` made."""

    def waits(self) -> bool:
        """Whether a write is acknowledged only when a replica has it."""


def strike(engine: Engine, kind: str, struck: Struck = lambda _at: None) -> Round:
    """One failure, from an engine in which nothing is missing to one in which nothing is again."""
    engine.begin()
    return engine.end(engine.hit(kind, struck))


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share of them does not exceed: one that was measured."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(rounds: Sequence[Round]) -> list[Json]:
    """A line for each engine and each kind of recovery."""
    return [
        {
            "engine": engine,
            "kind": kind,
            "rounds": len(members),
            "gap": _figures([one.gap for one in members if one.gap is not None]),
            "acknowledged": sum(one.acknowledged for one in members),
            "lost": sum(one.lost for one in members),
            "reached_a_replica": sum(one.replica for one in members),
            "reached_a_replica_steady": sum(one.replica_steady for one in members),
        }
        for (engine, kind), members in _groups(rounds)
    ]


def _groups(rounds: Sequence[Round]) -> Iterator[tuple[tuple[str, str], list[Round]]]:
    found: dict[tuple[str, str], list[Round]] = {}
    for one in rounds:
        found.setdefault((one.engine, one.kind), []).append(one)
    yield from sorted(found.items())


def _figures(gaps: Sequence[float]) -> dict[str, float]:
    return {"p50": percentile(gaps, 0.5), "p95": percentile(gaps, 0.95), "max": max(gaps)} if gaps else {}


def problems(rounds: Sequence[Round], budget: Budget) -> list[str]:
    """Why the drill failed; nothing when it passed. Each kind keeps the limits by itself."""
    told = [
        f"after {one.victim} was hit no write to {one.engine} was acknowledged any more"
        for one in rounds
        if one.gap is None
    ]
    limits = {"redis": budget.redis_gap, "postgresql": budget.postgresql_gap}
    for (engine, kind), members in _groups(rounds):
        limit = limits[engine] if budget.node_gap is None else budget.node_gap
        gaps = [one.gap for one in members if one.gap is not None]
        if limit is not None and gaps and percentile(gaps, 0.95) > limit:
            p95 = percentile(gaps, 0.95)
            told.append(f"95 % of the gaps of {engine}, {kind}, are within {p95:g} s, {limit:g} s allowed")
    commits = [one for one in rounds if one.engine == "postgresql"]
    lost, steady = sum(one.lost for one in commits), sum(one.replica_steady for one in rounds)
    if budget.commits_lost is not None and lost > budget.commits_lost:
        acknowledged = sum(one.acknowledged for one in commits)
        told.append(f"{lost} of {acknowledged} acknowledged commits lost, {budget.commits_lost} allowed")
    if budget.replica_writes is not None and steady > budget.replica_writes:
        told.append(f"{steady} writes reached a replica in steady state, {budget.replica_writes} allowed")
    return told
