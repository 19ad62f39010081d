# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is declared and what is there to the steps between them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.plan import (
    PLATFORM_LABEL,
    SPEC_LABEL,
    Container,
    Mount,
    Network,
    Node,
    Observed,
    Platform,
    names,
    plan_absent,
    plan_present,
    strays,
)

CP = Node("cp-1", "10.89.70.11")
WORKER = Node("worker-1", "10.89.70.21")
LAB = Platform(
    name="lab",
    network=Network("celeryops-lab", "10.89.70.0/24"),
    image="localhost/node:1",
    nodes=(CP, WORKER),
    prefix="lab-",
    volumes=("/var/lib/etcd",),
    mounts=(Mount("/cache", "/cache"),),
    ulimits=("nofile=1:1",),
)
FRESH = Observed()


def running(platform: Platform = LAB, **change: object) -> Observed:
    """What is there after the platform has been made."""
    label = {PLATFORM_LABEL: platform.name}
    containers = {
        platform.container(node): Container(
            platform.container(node), True, label | {SPEC_LABEL: json.dumps(platform.spec(node))}
        )
        for node in platform.nodes
    }
    observed = Observed(
        containers=containers,
        networks={platform.network.name: {"labels": label, "subnet": platform.network.subnet, "bridge": "b0"}},
        volumes={platform.volume(n, path): label for n in platform.nodes for path in platform.volumes},
    )
    return replace(observed, **change)


def test_everything_is_made_in_the_order_in_which_it_is_needed() -> None:
    assert names(plan_present(LAB, FRESH, recreate=False)) == [
        "create network celeryops-lab",
        "create volume lab-cp-1-var-lib-etcd",
        "create container lab-cp-1",
        "start container lab-cp-1",
        "create volume lab-worker-1-var-lib-etcd",
        "create container lab-worker-1",
        "start container lab-worker-1",
    ]


def test_what_is_there_is_left_alone() -> None:
    assert plan_present(LAB, running(), recreate=False) == []
    assert plan_present(LAB, running(), recreate=True) == []


def test_a_stopped_node_is_started_and_keeps_what_it_holds() -> None:
    there = running()
    stopped = dict(there.containers) | {"lab-cp-1": replace(there.containers["lab-cp-1"], running=False)}
    assert names(plan_present(LAB, running(containers=stopped), recreate=False)) == ["start container lab-cp-1"]


def test_an_interrupted_run_is_completed_over_the_empty_volumes_it_left() -> None:
    containers = {k: v for k, v in running().containers.items() if k != "lab-worker-1"}
    assert names(plan_present(LAB, running(containers=containers), recreate=False)) == [
        "create container lab-worker-1",
        "start container lab-worker-1",
    ]


def test_volumes_with_data_whose_container_is_gone_are_not_thrown_away_unasked() -> None:
    containers = {k: v for k, v in running().containers.items() if k != "lab-worker-1"}
    there = running(containers=containers, filled=frozenset({"lab-worker-1-var-lib-etcd"}))
    with pytest.raises(CeleryOpsError, match="data of lab-worker-1"):
        plan_present(LAB, there, recreate=False)
    assert names(plan_present(LAB, there, recreate=True)) == [
        "remove volume lab-worker-1-var-lib-etcd",
        "create volume lab-worker-1-var-lib-etcd",
        "create container lab-worker-1",
        "start container lab-worker-1",
    ]


def test_a_further_node_is_added_beside_those_there() -> None:
    more = replace(LAB, nodes=(*LAB.nodes, Node("worker-2", "10.89.70.22")))
    assert names(plan_present(more, running(), recreate=False)) == [
        "create volume lab-worker-2-var-lib-etcd",
        "create container lab-worker-2",
        "start container lab-worker-2",
    ]


@pytest.mark.parametrize(
    ("declared", "setting"),
    [
        (replace(LAB, image="localhost/node:2"), "image"),
        (replace(LAB, mounts=()), "mounts"),
        (replace(LAB, nodes=(replace(CP, address="10.89.70.12"), WORKER)), "address"),
        (replace(LAB, ulimits=()), "ulimits"),
        (replace(LAB, runtime="crun"), "runtime"),
    ],
)
def test_a_changed_setting_is_reported_and_costs_nothing(declared: Platform, setting: str) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        plan_present(declared, running(), recreate=False)
    assert "cp-1: " in str(caught.value.found)
    assert setting in caught.value.details["drift"]["cp-1"]
    assert "local_nodes_recreate=true" in str(caught.value.remedy)


def test_with_leave_a_changed_node_is_made_anew_with_its_volumes_and_only_that_one() -> None:
    declared = replace(LAB, nodes=(replace(CP, address="10.89.70.12"), WORKER))
    assert names(plan_present(declared, running(), recreate=True)) == [
        "remove container lab-cp-1",
        "remove volume lab-cp-1-var-lib-etcd",
        "create volume lab-cp-1-var-lib-etcd",
        "create container lab-cp-1",
        "start container lab-cp-1",
    ]


def test_another_subnet_makes_everything_anew_but_only_with_leave() -> None:
    moved = replace(
        LAB,
        network=Network("celeryops-lab", "10.89.71.0/24"),
        nodes=(Node("cp-1", "10.89.71.11"), Node("worker-1", "10.89.71.21")),
    )
    with pytest.raises(CeleryOpsError, match="settings that a container keeps for life"):
        plan_present(moved, running(), recreate=False)
    steps = names(plan_present(moved, running(), recreate=True))
    assert steps.index("remove container lab-worker-1") < steps.index("remove network celeryops-lab")
    assert steps.index("remove network celeryops-lab") < steps.index("create network celeryops-lab")
    assert steps.index("create network celeryops-lab") < steps.index("create container lab-cp-1")


def test_a_network_without_containers_follows_its_declaration() -> None:
    moved = replace(LAB, network=Network("celeryops-lab", "10.89.71.0/24"), nodes=(Node("cp-1", "10.89.71.11"),))
    steps = names(plan_present(moved, running(containers={}, volumes={}), recreate=False))
    assert steps[:2] == ["remove network celeryops-lab", "create network celeryops-lab"]


@pytest.mark.parametrize(
    ("there", "what"),
    [
        (Observed(containers={"lab-cp-1": Container("lab-cp-1", True, {})}), "container lab-cp-1"),
        (
            Observed(containers={"lab-cp-1": Container("lab-cp-1", True, {PLATFORM_LABEL: "other"})}),
            "container lab-cp-1",
        ),
        (
            Observed(networks={"celeryops-lab": {"labels": {}, "subnet": "10.89.70.0/24"}}),
            "network celeryops-lab",
        ),
        (Observed(volumes={"lab-worker-1-var-lib-etcd": {}}), "volume lab-worker-1-var-lib-etcd"),
    ],
)
def test_a_taken_name_is_refused_before_anything_is_made(there: Observed, what: str) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        plan_present(LAB, there, recreate=True)
    assert caught.value.found == what


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.89.99.11", "outside 10.89.70.0/24"),
        ("10.89.70.1", "taken by the network or the host"),
        ("10.89.70.255", "taken by the network or the host"),
        ("10.89.70.21", "also the address of cp-1"),
        ("worker.example", "is not an IP address"),
        ("", "is not an IP address"),
    ],
)
def test_an_address_that_cannot_work_is_refused(address: str, said: str) -> None:
    nodes = (Node("cp-1", "10.89.70.21"), Node("worker-1", address))
    with pytest.raises(CeleryOpsError) as caught:
        plan_present(replace(LAB, nodes=nodes), FRESH, recreate=False)
    assert said in str(caught.value.found)


def test_all_addresses_that_cannot_work_are_named_at_once() -> None:
    nodes = (Node("cp-1", "nowhere"), Node("worker-1", "10.1.1.1"))
    with pytest.raises(CeleryOpsError, match=r"cp-1: .*; worker-1: "):
        plan_present(replace(LAB, nodes=nodes), FRESH, recreate=False)


@pytest.mark.parametrize("subnet", ["10.89.70.0", "10.89.70.0/30", "10.89.70.5/24", "the net", "fd00::/64"])
def test_a_subnet_that_cannot_work_is_refused(subnet: str) -> None:
    with pytest.raises(CeleryOpsError, match="subnet of network celeryops-lab cannot be used"):
        plan_present(replace(LAB, network=Network("celeryops-lab", subnet)), FRESH, recreate=False)


def test_an_image_that_is_not_there_is_loaded_from_its_archive_or_asked_for() -> None:
    without = replace(FRESH, image_present=False)
    with pytest.raises(CeleryOpsError, match="not in podman's storage"):
        plan_present(LAB, without, recreate=False)
    steps = names(plan_present(replace(LAB, archive="/cache/node.tar"), without, recreate=False))
    assert steps[0] == "load image localhost/node:1"


def test_an_image_that_no_node_needs_is_not_missed() -> None:
    assert plan_present(LAB, running(image_present=False), recreate=False) == []


def test_no_image_is_said_before_anything_else() -> None:
    with pytest.raises(CeleryOpsError, match="No image is declared"):
        plan_present(replace(LAB, image=""), FRESH, recreate=False)


def test_removal_goes_by_the_label_not_by_the_declaration() -> None:
    mine, other = {PLATFORM_LABEL: "lab"}, {PLATFORM_LABEL: "local"}
    there = Observed(
        containers={
            "lab-old": Container("lab-old", False, mine),
            "local-cp-1": Container("local-cp-1", True, other),
            "lab-by-hand": Container("lab-by-hand", True, {}),
        },
        networks={
            "celeryops-lab": {"labels": mine},
            "celeryops-local": {"labels": other},
            "podman": {"labels": {}},
        },
        volumes={"lab-v": mine, "local-v": other, "v": {}},
    )
    assert names(plan_absent("lab", there)) == [
        "remove container lab-old",
        "remove volume lab-v",
        "remove network celeryops-lab",
    ]
    assert plan_absent("lab", FRESH) == []


def test_a_container_that_no_node_declares_any_more_is_named() -> None:
    fewer = replace(LAB, nodes=(CP,))
    assert strays(fewer, running()) == ["lab-worker-1"]
    assert plan_present(fewer, running(), recreate=False) == []


def test_platforms_share_no_name() -> None:
    other = replace(LAB, name="local", prefix="local-", network=Network("celeryops-local", "10.89.60.0/24"))
    assert not {LAB.container(n) for n in LAB.nodes} & {other.container(n) for n in LAB.nodes}
    assert LAB.volume(CP, "/var/lib/etcd") != other.volume(CP, "/var/lib/etcd")
