# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures under a client that writes: percentiles, kinds, limits, and the order in which an engine is asked."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import (
    FAILOVER,
    IN_PLACE,
    Round,
    Struck,
    percentile,
    problems,
    strike,
    summary,
)

BUDGET = Budget(redis_gap=10, postgresql_gap=20, commits_lost=0, replica_writes=0)


def made(gap: float | None, **more: Any) -> Round:
    facts = {"engine": "redis", "victim": "a-0", "before": "a-0", "after": "a-1", "acknowledged": 100, **more}
    return Round(gap=gap, **facts)


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1.0, 20), (0.01, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(20, 0, -1)], share) == value


def test_kinds_and_engines_are_kept_apart() -> None:
    rounds = [made(2.0, after="a-0"), made(5.0), made(6.0), made(7.0, lost=3), made(1.0, engine="postgresql")]
    lines = summary(rounds)
    assert [(line["engine"], line["kind"], line["rounds"]) for line in lines] == [
        ("postgresql", FAILOVER, 1),
        ("redis", FAILOVER, 3),
        ("redis", IN_PLACE, 1),
    ]
    assert lines[1]["gap"] == {"p50": 6.0, "p95": 7.0, "max": 7.0}
    assert (lines[1]["acknowledged"], lines[1]["lost"]) == (300, 3)
    assert summary([made(None)])[0]["gap"] == {}
    assert summary([]) == []


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (made(10.5), "95 % of the gaps of redis, failover, are within 10.5 s, 10 s allowed"),
        (made(20.5, engine="postgresql"), "95 % of the gaps of postgresql, failover, are within 20.5 s, 20 s allowed"),
        (made(1, engine="postgresql", lost=2), "2 of 100 acknowledged commits lost, 0 allowed"),
        (made(1, replica_steady=1), "1 writes reached a replica in steady state, 0 allowed"),
        (made(None), "after a-0 was hit no write to redis was acknowledged any more"),
    ],
)
def test_what_is_over_the_budget_is_told(one: Round, words: str) -> None:
    assert problems([made(1.0), made(19.0, engine="postgresql")], BUDGET) == []
    assert problems([one], BUDGET) == [words]


def test_what_is_told_and_no_fault() -> None:
    # Redis replicates asynchronously, and there are limits that do not apply.
    assert problems([made(1.0, lost=2)], BUDGET) == []
    assert problems([made(99.0, replica_steady=9), made(99.0, engine="postgresql", lost=9)], Budget()) == []
    assert problems([made(59.0)], Budget(node_gap=60)) == []
    assert len(problems([made(61.0), made(61.0, engine="postgresql")], Budget(node_gap=60))) == 2


def test_quick_restarts_do_not_hide_slow_failovers() -> None:
    rounds = [made(1.0, after="a-0")] * 19 + [made(30.0)]
    assert problems(rounds, BUDGET) == ["95 % of the gaps of redis, failover, are within 30 s, 10 s allowed"]


class Engine:
    name = "redis"

    def __init__(self) -> None:
        self.done: list[str] = []

    def refuse(self) -> None:
        self.done.append("refuse")

    def open(self, avoid: str = "") -> None:
        self.done.append(f"open {avoid}".strip())

    def begin(self) -> None:
        self.done.append("begin")

    def hit(self, kind: str, struck: Struck) -> str:
        struck(7.5)
        self.done.append(kind)
        return "a-0"

    def end(self, victim: str) -> Round:
        self.done.append(f"end {victim}")
        return made(2.0)

    def close(self) -> None:
        self.done.append("close")

    def waits(self) -> bool:
        return False


def test_a_strike() -> None:
    engine, times = Engine(), list[float | None]()
    assert strike(engine, "redis_master_pod", times.append).gap == 2.0
    assert engine.done == ["begin", "redis_master_pod", "end a-0"]
    assert times == [7.5]
