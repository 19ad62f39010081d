# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes may be drilled, what a drain takes from them, and what a cut says to the kernel."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill import cut
from ansible_collections.celeryops.platform.plugins.module_utils._drill.nodes import (
    chosen,
    evictable,
    seconds_of,
    unmanaged,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

Json = dict[str, Any]


# An address in front of the servers
FRONT = "https://192.0.2.10:6443"


def node(name: str, *, ready: bool = True, cordoned: bool = False, control: bool = False, address: str = "") -> Json:
    return {
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/control-plane": ""} if control else {}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "addresses": [{"type": "InternalIP", "address": address or "192.0.2.99"}],
        },
    }


NODES = [node("w-2"), node("w-1"), node("cp", control=True), node("off", ready=False), node("kept", cordoned=True)]


def test_nodes_in_turn() -> None:
    assert chosen(NODES, [], loss=False, host=FRONT) == ["cp", "w-1", "w-2"]
    assert chosen(NODES, [], loss=True, host=FRONT) == ["w-1", "w-2"]
    assert chosen(NODES, ["w-2", "cp"], loss=False, host=FRONT) == ["w-2", "cp"]


def servers(*names: str, **others: Any) -> list[Json]:
    return [node(name, control=True, address=f"192.0.2.1{name[-1]}") for name in names] + [node("w", **others)]


def test_one_server_of_three_may_be_lost_when_the_others_answer_for_it() -> None:
    three = servers("cp-1", "cp-2", "cp-3")
    assert chosen(three, [], loss=True, host=FRONT) == ["cp-1", "cp-2", "cp-3", "w"]
    assert chosen(three, ["cp-2"], loss=True, host="https://cluster.example:6443") == ["cp-2"]
    # The one that the kubeconfig leads to
    assert chosen(three, [], loss=True, host="https://192.0.2.12:6443") == ["cp-1", "cp-3", "w"]
    assert chosen(servers("cp-1", "cp-2"), [], loss=True, host=FRONT) == ["w"]
    two_of_three = [*servers("cp-1", "cp-2"), node("cp-3", control=True, ready=False)]
    assert chosen(two_of_three, [], loss=True, host=FRONT) == ["w"]


@pytest.mark.parametrize(
    ("nodes", "wanted", "loss", "says"),
    [
        (NODES, ["gone"], False, "gone asked for"),
        (NODES, ["off"], False, "off asked for"),
        (NODES, ["kept", "w-1"], False, "kept asked for"),
        # Without the API server nobody could see what happens.
        (NODES, ["cp"], True, "nodes outside of the control plane"),
        ([node("only")], [], False, "another one to take their pods"),
        ([node("cp", control=True), node("cp-2", control=True)], [], True, "none that may be"),
    ],
)
def test_nodes_that_must_not_be_drilled(nodes: list[Json], wanted: list[str], loss: bool, says: str) -> None:
    with pytest.raises(CeleryOpsError, match=says):
        chosen(nodes, wanted, loss=loss, host=FRONT)


def pod(
    name: str, kind: str | None = "ReplicaSet", *, phase: str = "Running", space: str = "shop", **meta: Any
) -> Json:
    owners = [{"kind": kind, "name": "owner", "apiVersion": "apps/v1", "controller": True}] if kind else []
    return {
        "metadata": {"name": name, "namespace": space, "ownerReferences": owners, **meta},
        "status": {"phase": phase},
    }


def test_what_a_drain_evicts() -> None:
    pods = [
        pod("worker"),
        pod("redis-0", "StatefulSet"),
        pod("job", "Job"),
        pod("over", "Job", phase="Succeeded"),
        pod("proxy", "DaemonSet"),
        pod("apiserver", "Node", annotations={"kubernetes.io/config.mirror": "x"}),
        pod("hand", None, space="celeryops-drill"),
        pod("lone", None),
    ]
    assert [one["metadata"]["name"] for one in evictable(pods)] == ["worker", "redis-0", "job"]
    assert unmanaged(pods) == ["shop/lone"]


@pytest.mark.parametrize(
    ("said", "seconds"), [("1s", 1), ("1m30s", 90), ("5m0s", 300), ("500ms", 0.5), ("1h0m0s", 3600)]
)
def test_durations_of_go(said: str, seconds: float) -> None:
    assert seconds_of(said) == seconds


def test_devices_of_a_node() -> None:
    there = {
        "lo": ["127.0.0.1", "10.0.0.1"],
        "eth0": ["10.0.0.1", "fe80::1"],
        "cni0": ["10.42.0.1"],
        "eth1": ["fd00::1"],
    }
    assert cut.chosen(there, ["10.0.0.1"]) == ["eth0"]
    assert cut.chosen(there, ["10.0.0.1", "fd00::1"]) == ["eth0", "eth1"]
    assert cut.chosen(there, ["192.0.2.1"]) == []


def test_a_cut_is_a_table_that_belongs_to_its_process_and_two_chains_for_each_device() -> None:
    request, answers = cut.batch(["eth0", "eth1"])
    kinds, rest = [], request
    while rest:
        size, kind, flags = struct.unpack_from("=IHH", rest)
        kinds.append((kind, bool(flags & cut.ACK)))
        rest = rest[size:]
    chain = (cut.NFTABLES << 8 | cut.NEW_CHAIN, True)
    table = (cut.NFTABLES << 8 | cut.NEW_TABLE, True)
    assert kinds == [(cut.BEGIN, False), table, *[chain] * 4, (cut.END, False)]
    assert answers == 5
    assert struct.pack("=HH", 8, 2) + struct.pack(">I", cut.OWNER) in request
