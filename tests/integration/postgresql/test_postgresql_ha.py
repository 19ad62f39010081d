# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three instances on the full cluster: what is there, who takes over, and what a smaller profile leaves."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from helpers.modules import run_module
from postgresql_place import NAME, OWNER, Place, until

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

WRITE, READ = (
    {**OWNER, "host": f"{NAME}-{host}", "access": access}
    for host, access in (("pooler", "write"), ("pooler-repl", "read"))
)


@pytest.fixture(scope="module")
def place(make_place: Callable[..., Place]) -> Place:
    """The standard profile, check and apply twice each, which is its own test of truthfulness."""
    place = make_place()
    for options, changed in ((("--check",), True), ((), True), (("--check",), False), ((), False)):
        assert (place.applied(*options) > 0) is changed, options
    return place


def test_one_primary_whose_replicas_stream_on_different_nodes(place: Place) -> None:
    found = place.info()
    assert [member["role"] for member in found["members"] if member["pod"] == found["leader"]] == ["primary"]
    replicas = [member for member in found["members"] if member["pod"] != found["leader"]]
    assert [(member["role"], member["replication"]) for member in replicas] == [("replica", "streaming")] * 2
    # Three on the schedulable nodes there are: as evenly as they go.
    nodes = [member["node"] for member in found["members"]]
    assert max(nodes.count(node) for node in nodes) <= 2
    assert found["synchronous"] == []


def test_poolers_are_two_each_on_different_nodes_and_guarded(place: Place) -> None:
    for component in ("pooler", "pooler-repl"):
        pods = [
            pod for pod in place.pods("postgresql-pooler") if pod["metadata"]["name"].startswith(f"{NAME}-{component}-")
        ]
        pods = [pod for pod in pods if pod["metadata"]["labels"]["app.kubernetes.io/instance"] == f"{NAME}-{component}"]
        assert len({pod["spec"]["nodeName"] for pod in pods}) == len(pods) == 2
    for name in (NAME, f"{NAME}-pooler", f"{NAME}-pooler-repl"):
        budget = place.api.get(ObjectRef("policy/v1", "PodDisruptionBudget", name, place.namespace))
        assert budget is not None
        assert budget["status"]["disruptionsAllowed"] == 1


def test_writes_reach_replicas_whose_pooler_takes_none(place: Place) -> None:
    answers = place.info(WRITE, READ)["endpoints"]
    assert [(one["access"], one["passed"], one["writable"], one["error"]) for one in answers] == [
        ("write", True, True, None),
        ("read", True, False, None),
    ]
    place.sql("CREATE TABLE seen (n int); INSERT INTO seen VALUES (42);")
    until(
        lambda: place.sql("SELECT count(*) FROM pg_class WHERE relname = 'seen';", READ["host"]) == "1",
        "a replica's copy",
    )
    assert place.sql("SELECT n FROM seen;", READ["host"]) == "42"


def test_what_is_meant_for_replicas_is_told_from_what_is_not(place: Place) -> None:
    wrong = place.info({**WRITE, "access": "read"}, {**READ, "access": "write"}, wait=0)["endpoints"]
    assert [one["passed"] for one in wrong] == [False, False]
    assert "read-only" in wrong[1]["error"]


def test_another_instance_takes_over_and_the_pod_comes_back_as_a_replica(place: Place) -> None:
    place.sql("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n;")
    before = place.database.wait_for_leader(60)
    place.api.delete(ObjectRef("v1", "Pod", before, place.namespace))
    until(lambda: place.database.leader() not in (before, None), "a failover")
    assert place.info(WRITE, wait=60)["endpoints"][0]["error"] is None
    assert place.sql("SELECT count(*), sum(n) FROM kept;") == "1000|500500"

    def replicas() -> list[str]:
        return [one.pod for one in place.database.members() if one.ready and one.replication == "streaming"]

    until(lambda: before in replicas() and len(replicas()) == 2, "the old primary as a replica")
    # Who leads is not for the role to change.
    assert place.applied("--check") == 0
    assert place.applied() == 0


def test_a_replica_gets_another_volume(place: Place) -> None:
    leader = place.database.wait_for_leader(60)
    pod = next(one.pod for one in place.database.members() if one.pod != leader)
    where = {"kubeconfig": os.environ["KUBECONFIG"], "namespace": place.namespace, "name": NAME}
    claim = ObjectRef("v1", "PersistentVolumeClaim", f"data-{pod}", place.namespace)
    before = place.api.get(claim)
    assert before is not None
    assert "leads the cluster" in run_module("postgresql_replica", {**where, "pod": leader, "force": True})["msg"]
    assert run_module("postgresql_replica", {**where, "pod": pod})["changed"] is False
    assert run_module("postgresql_replica", {**where, "pod": pod, "force": True}, check=True)["changed"] is True
    assert (place.api.get(claim) or {})["metadata"]["uid"] == before["metadata"]["uid"]
    done = run_module("postgresql_replica", {**where, "pod": pod, "force": True}, timeout=600)
    assert (done["changed"], done["after"]["replication"]) == (True, "streaming")
    after = place.api.get(claim)
    assert after is not None
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert (
        place.database.sql(pod, f"\\connect {OWNER['database']}\nSELECT count(*), sum(n) FROM kept;") == "1000|500500"
    )


def test_the_small_profile_leaves_one_of_each_and_the_data(place: Place) -> None:
    until(lambda: place.database.leader() is not None, "a leader")
    assert place.applied(postgresql_profile="small") > 0
    assert [pod["metadata"]["name"] for pod in place.pods("postgresql")] == [f"{NAME}-0"]
    assert len(place.pods("postgresql-pooler")) == 1
    assert not place.exists("apps/v1", "Deployment", f"{NAME}-pooler-repl")
    assert not place.exists("policy/v1", "PodDisruptionBudget", NAME)
    assert place.sql("SELECT count(*), sum(n) FROM kept;") == "1000|500500"
    assert place.applied(postgresql_profile="small") == 0
