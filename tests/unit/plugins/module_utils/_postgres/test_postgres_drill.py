# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a writer's log to figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill import (
    Gap,
    Report,
    Seen,
    percentile,
    seen,
    strike,
)


def line(acknowledged: int, connections: int = 1, **more: Any) -> str:
    return "CELERYOPS-WRITER " + json.dumps({"acknowledged": acknowledged, "connections": connections, **more}) + "\n"


def test_what_a_writer_has_told() -> None:
    gap = {"from": 10.0, "to": 12.5, "attempts": 4, "errors": ["closed", "refused"]}
    log = line(5) + "a warning of the driver\n" + line(9, 2, gap=gap) + line(20, 2) + line(21, 2)[:30]
    assert seen(log) == Seen(20, 2, (Gap(10.0, 12.5, 4, ("closed", "refused")),))
    assert seen("") == Seen()


def test_a_gap_in_between_that_is_somebody_elses() -> None:
    gaps = [Gap(10, 14, 3, ("closed",)), Gap(40, 41.5, 1, ())]
    assert strike("primary-pod", "db-0", ("db-0", "db-1"), gaps, 500, 0).gap == 4.0


def test_several_gaps_of_one_failure_are_one() -> None:
    gaps = [Gap(10, 12, 3, ("closed", "refused")), Gap(12.5, 13, 2, ("read-only", "read-only"))]
    found = strike("primary-pod", "db-0", ("db-0", "db-1"), gaps, 500, 2)
    assert (found.gap, found.attempts, found.failover, found.lost) == (3.0, 5, True, 2)
    assert found.errors == ("closed", "refused", "read-only")
    assert strike("pooler-pod", "p", ("db-0", "db-0"), [], 500, 0).gap == 0.0


@pytest.mark.parametrize(("share", "value"), [(50, 3.0), (95, 5.0), (100, 5.0), (20, 1.0), (21, 2.0), (0, 1.0)])
def test_percentiles_are_measured_values(share: float, value: float) -> None:
    assert percentile([5.0, 1.0, 4.0, 2.0, 3.0], share) == value
    assert percentile([], share) == 0.0


def test_a_report() -> None:
    strikes = tuple(
        strike("primary-pod", "db-0", ("db-0", after), [Gap(0, gap, 1, ())], 100 * number, lost)
        for number, (after, gap, lost) in enumerate([("db-1", 4.0, 0), ("db-0", 2.0, 1), ("db-1", 3.0, 0)], 1)
    )
    told = Report("primary-pod", strikes).as_dict()
    assert told["gap_seconds"] == {"p50": 3.0, "p95": 4.0, "max": 4.0}
    assert (told["failovers"], told["acknowledged"], told["lost"]) == (2, 300, 1)
    assert told["strikes"][0]["leader_after"] == "db-1"
    assert Report("primary-pod").as_dict()["gap_seconds"] == {"p50": 0.0, "p95": 0.0, "max": 0.0}
