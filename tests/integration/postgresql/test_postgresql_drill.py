# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures while a client writes: in synchronous mode nothing that was acknowledged is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_place import NAME, OWNER, Place, image_of

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill import Report
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill_run import Drill, Target

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]


# A crashed primary is replaced at once instead of started again: each killed process is a failover.
PATRONI = {
    "ttl": 20,
    "loop_wait": 5,
    "retry_timeout": 5,
    "maximum_lag_on_failover": 1048576,
    "failsafe_mode": True,
    "primary_start_timeout": 0,
}


@pytest.fixture(scope="module")
def place(make_place: Callable[..., Place]) -> Place:
    place = make_place(
        postgresql_synchronous_mode="on", postgresql_patroni=PATRONI, postgresql_replica_pooler_replicas=0
    )
    assert place.applied() > 0
    assert place.info(synchronous=True)["synchronous"] != []
    return place


@pytest.fixture(scope="module")
def drill(place: Place) -> Iterator[Drill]:
    image = image_of(place.api, "StatefulSet", "jewelry-shop-db")
    target = Target(f"{NAME}-pooler", OWNER["database"], OWNER["user"], OWNER["secret"], image)
    with Drill(place.api, place.database, target) as drill:
        yield drill
    assert not place.exists("v1", "Pod", f"{NAME}-drill-writer")
    assert place.sql("SELECT to_regclass('celeryops_drill') IS NULL;") == "t"


def told(report: Report) -> Report:
    """Also for who reads the run's output, or collects it."""
    print(report.as_dict())
    if folder := os.environ.get("DRILL_REPORTS"):
        Path(folder, f"{report.kind}.json").write_text(str(report.as_dict()), encoding="utf-8")
    return report


def test_a_killed_primary_is_replaced_by_the_replica_that_commits_waited_for(drill: Drill) -> None:
    report = told(drill.run("primary-process", 3))
    assert [(one.lost, one.failover) for one in report.strikes] == [(0, True)] * 3
    assert all(one.gap > 0 for one in report.strikes)


def test_a_primary_that_is_asked_to_go_hands_over(drill: Drill) -> None:
    report = told(drill.run("primary-eviction", 1))
    assert [(one.lost, one.failover) for one in report.strikes] == [(0, True)]


def test_a_primary_whose_pod_is_gone_loses_nothing(drill: Drill) -> None:
    # Who leads afterwards depends on how soon the pod is back.
    report = told(drill.run("primary-pod", 1))
    assert [one.lost for one in report.strikes] == [0]
    assert report.strikes[0].gap > 0


def test_a_pooler_that_is_gone_costs_one_reconnect(drill: Drill) -> None:
    report = told(drill.run("pooler-pod", 1))
    assert [(one.lost, one.failover) for one in report.strikes] == [(0, False)]


def test_nobody_else_is_hit(drill: Drill, place: Place) -> None:
    with pytest.raises(CeleryOpsError, match="'everything' is no failure that can be made"):
        drill.strike("everything")
    # What the failures left is what the role wants.
    assert place.applied("--check") == 0
