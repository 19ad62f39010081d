# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a writer's records."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill import (
    FAILED_OVER,
    RESTARTED,
    Budget,
    Round,
    percentile,
    problems,
    round_of,
    summary,
)

READONLY = "READONLY You can't write against a read only replica."
ANSWER: dict[str, Any] = {
    "acknowledged": [(1, 10.0), (2, 10.1), (3, 10.25), (6, 14.5), (7, 14.6)],
    "errors": [(10.3, "ConnectionError: closed by the other side"), (14.4, READONLY), (14.55, READONLY)],
    "kept": [1, 2, 6, 7],
}


def made(gap: float | None, **more: Any) -> Round:
    facts = {"kill": "pod", "victim": "redis-0", "successor": "redis-1", "acknowledged": 100, "lost": 0, **more}
    return Round(gap=gap, **facts)


def test_a_round() -> None:
    one = round_of("pod", "redis-0", "redis-1", 10.2, ANSWER)
    # What was on its way when the master was killed is answered after it; the silence that follows is the gap.
    assert one.gap == pytest.approx(4.25)
    assert (one.acknowledged, one.lost, one.kind) == (5, 1, FAILED_OVER)
    assert (one.replica, one.replica_steady) == (2, 1)
    assert one.errors == {"ConnectionError": 1, "READONLY": 2}
    assert one.report()["reached_a_replica_steady"] == 1


def test_a_master_that_never_came_back() -> None:
    one = round_of("process", "redis-0", "redis-0", 20.0, {**ANSWER, "errors": []})
    assert (one.gap, one.kind) == (None, RESTARTED)
    assert problems([one], Budget(lost=1)) == [
        "round 1: after redis-0 was killed (process) no write was acknowledged any more"
    ]


@pytest.mark.parametrize(("share", "value"), [(0.5, 10), (0.95, 19), (1.0, 20), (0.01, 1)])
def test_percentiles_are_values_that_occurred(share: float, value: float) -> None:
    assert percentile([float(number) for number in range(20, 0, -1)], share) == value


def test_kinds_are_kept_apart() -> None:
    rounds = [made(2.0, kill="process", successor="redis-0"), made(5.0, kill="process"), made(6.0), made(7.0, lost=3)]
    lines = summary(rounds)
    assert [(line["kill"], line["kind"], line["rounds"]) for line in lines] == [
        ("pod", FAILED_OVER, 2),
        ("process", FAILED_OVER, 1),
        ("process", RESTARTED, 1),
    ]
    assert lines[0]["gap"] == {"p50": 6.0, "p95": 7.0, "max": 7.0}
    assert (lines[0]["acknowledged"], lines[0]["lost"]) == (200, 3)
    assert summary([made(None)])[0]["gap"] == {}


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (made(10.5), "95 % of the gaps are within 10.5 s, 10 s allowed"),
        (made(1.0, lost=2), "2 of 100 acknowledged writes lost, 0 allowed"),
        (made(1.0, replica_steady=1), "1 writes reached a replica in steady state, 0 allowed"),
    ],
)
def test_what_is_over_the_budget_is_told(one: Round, words: str) -> None:
    assert problems([made(1.0)], Budget()) == []
    assert problems([one], Budget()) == [words]
