# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures while a client writes: in synchronous mode nothing that was acknowledged is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgresql_place import NAME, OWNER, Place, image_of

from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import Hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import (
    FAILOVER,
    IN_PLACE,
    Round,
    strike,
    summary,
)
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill_run import PostgreSQL, Target

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
def engine(place: Place) -> Iterator[PostgreSQL]:
    target = Target(f"{NAME}-pooler", OWNER["database"], OWNER["user"], OWNER["secret"])
    # The pods on nodes run in what the nodes have, with Python: the cluster's own image.
    hands = Hands(place.api, image_of(place.api, "StatefulSet", "jewelry-shop-db"), "python", 300)
    engine = PostgreSQL(place.api, place.database, target, hands, 300)
    engine.refuse()
    assert engine.waits()
    try:
        engine.open()
        yield engine
    finally:
        engine.close()
        hands.close()
    assert not place.api.list("v1", "Pod", place.namespace, label_selector="app.kubernetes.io/name=celeryops-drill")
    assert place.sql("SELECT to_regclass('celeryops_drill') IS NULL;") == "t"


def struck(engine: PostgreSQL, kind: str, times: int) -> list[Round]:
    """The rounds; their figures also for who reads the run's output, or collects it."""
    rounds = [strike(engine, kind) for _number in range(times)]
    told = json.dumps({"drill": kind, "writes": summary(rounds), "rounds": [one.report() for one in rounds]})
    print(told)
    if folder := os.environ.get("DRILL_REPORTS"):
        Path(folder, f"{kind}.json").write_text(told, encoding="utf-8")
    return rounds


def test_a_killed_primary_is_replaced_by_the_replica_that_commits_waited_for(engine: PostgreSQL) -> None:
    rounds = struck(engine, "postgresql_primary_process", 3)
    assert [(one.lost, one.kind) for one in rounds] == [(0, FAILOVER)] * 3
    assert all(one.gap for one in rounds)


def test_a_primary_that_is_asked_to_go_hands_over(engine: PostgreSQL) -> None:
    assert [(one.lost, one.kind) for one in struck(engine, "postgresql_primary_eviction", 1)] == [(0, FAILOVER)]


def test_a_primary_whose_pod_is_gone_loses_nothing(engine: PostgreSQL) -> None:
    # Who leads afterwards depends on how soon the pod is back.
    (one,) = struck(engine, "postgresql_primary_pod", 1)
    assert one.lost == 0
    assert one.gap


def test_a_pooler_that_is_gone_costs_one_reconnect(engine: PostgreSQL) -> None:
    assert [(one.lost, one.kind) for one in struck(engine, "postgresql_pooler_pod", 1)] == [(0, IN_PLACE)]


def test_what_the_failures_left_is_what_the_role_wants(engine: PostgreSQL, place: Place) -> None:
    assert place.applied("--check") == 0
