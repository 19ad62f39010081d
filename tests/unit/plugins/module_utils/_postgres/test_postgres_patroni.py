# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni's annotations say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.patroni import (
    Member,
    differences,
    leader,
    member,
    merged,
    other_values,
    restart_now,
    synchronous,
)


def pod(name: str, ready: str = "True", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "annotations": {"status": json.dumps(status)}},
        "spec": {"nodeName": "worker-1"},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def test_the_leader_is_who_holds_the_lock() -> None:
    assert leader({"metadata": {"annotations": {"leader": "db-0"}}}) == "db-0"
    assert leader({"metadata": {"annotations": {"leader": ""}}}) is None
    assert leader({"metadata": {}}) is None
    assert leader(None) is None


def test_a_member() -> None:
    found = member(pod("db-0", role="primary", state="running", timeline=3, pending_restart=True))
    assert found == Member("db-0", "worker-1", True, "primary", "running", 3, True)


def test_a_pod_that_patroni_has_not_described() -> None:
    bare = {"metadata": {"name": "db-1"}, "spec": {}, "status": {}}
    assert member(bare) == Member("db-1", "", False, "unknown", "unknown", None, False)
    damaged = {"metadata": {"name": "db-1", "annotations": {"status": "{"}}, "spec": {}, "status": {}}
    assert member(damaged) == member(bare)


def test_the_word_of_older_patronis() -> None:
    assert member(pod("db-0", role="master")).role == "primary"


def test_values_that_differ_from_the_wanted_ones() -> None:
    wanted = {"max_connections": 60, "wal_log_hints": True, "wal_level": "replica", "not_shared": 1}
    running = {"max_connections": "61", "wal_log_hints": "on", "wal_level": "logical", "max_wal_senders": "10"}
    assert other_values(wanted, running) == {"max_connections": "61", "wal_level": "logical"}


@pytest.mark.parametrize(
    ("lagging", "waiting", "now"),
    [
        # lowered: the primary first, and alone
        ({"db-0": "61", "db-1": "61"}, ("db-0", "db-1"), ("db-0",)),
        ({"db-0": "61", "db-1": "61"}, ("db-1",), ()),
        ({"db-1": "61", "db-2": "61"}, ("db-1", "db-2"), ("db-1", "db-2")),
        ({"db-1": "61", "db-2": "61"}, ("db-2",), ("db-2",)),
        # raised: the replicas first
        ({"db-0": "59", "db-1": "59", "db-2": "59"}, ("db-0", "db-1"), ("db-1",)),
        ({"db-0": "59"}, ("db-0",), ("db-0",)),
        ({"db-0": "59"}, (), ()),
    ],
)
def test_who_is_restarted_next(lagging: dict[str, str], waiting: tuple[str, ...], now: tuple[str, ...]) -> None:
    values = {pod: {"max_connections": value} for pod, value in lagging.items()}
    assert restart_now({"max_connections": 60}, values, waiting, "db-0") == now


def test_merging_is_deep_and_null_removes() -> None:
    current = {
        "ttl": 30,
        "postgresql": {"parameters": {"max_connections": 100, "wal_level": "replica"}},
        "pause": True,
    }
    wanted = {"ttl": 20, "postgresql": {"parameters": {"max_connections": 60}}, "pause": None, "absent": None}
    after = merged(current, wanted)
    assert after == {"ttl": 20, "postgresql": {"parameters": {"max_connections": 60, "wal_level": "replica"}}}
    assert differences(current, after) == ("pause", "postgresql.parameters.max_connections", "ttl")
    assert differences(after, merged(after, wanted)) == ()


def test_a_mapping_replaces_a_plain_value() -> None:
    assert merged({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}


def test_a_replica_that_streams() -> None:
    streams = pod("db-1", role="replica", state="running", replication_state="streaming")
    assert member(streams).replication == "streaming"
    assert member(pod("db-0", role="primary", state="running")).replication == ""


def test_who_holds_every_acknowledged_commit() -> None:
    assert synchronous({"metadata": {"annotations": {"sync_standby": "db-2,db-1"}}}) == ("db-1", "db-2")
    assert synchronous({"metadata": {"annotations": {"sync_standby": ""}}}) == ()
    assert synchronous({"metadata": {}}) == ()
    assert synchronous(None) == ()
