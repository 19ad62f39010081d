# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster says of itself, against what the inventory expects."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.celeryops.platform.plugins.module_utils._node.cluster import (
    Cluster,
    node_state,
    unmet,
)

READY = {
    "metadata": {"name": "cp-1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
    "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24"]},
    "status": {
        "addresses": [
            {"type": "InternalIP", "address": "10.89.60.11"},
            {"type": "Hostname", "address": "cp-1"},
        ],
        "conditions": [
            {
                "type": "MemoryPressure",
                "status": "False",
                "message": "sufficient memory",
            },
            {"type": "Ready", "status": "True", "message": "kubelet is posting ready status"},
        ],
        "nodeInfo": {"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://v2.2.3"},
    },
}
WITHOUT_NETWORK = {
    "metadata": {"name": "worker-1"},
    "spec": {},
    "status": {"conditions": [{"type": "Ready", "status": "False", "message": "cni plugin not initialized"}]},
}
GOOD = Cluster(initialised=True, version="v1.36.3", nodes=(node_state(READY),), dns_wanted=2, dns_available=2)


def test_a_node_is_read_from_its_object() -> None:
    state = node_state(READY)
    assert (state.name, state.address, state.pod_cidr) == ("cp-1", "10.89.60.11", "10.42.0.0/24")
    assert state.ready
    assert (state.version, state.runtime) == ("v1.36.3", "containerd://v2.2.3")


def test_a_node_that_has_just_registered_lacks_most_of_it() -> None:
    state = node_state({"metadata": {"name": "new"}})
    assert not state.ready
    assert (state.address, state.pod_cidr, state.reason) == ("", "", "no condition Ready yet")


def test_nothing_is_missing_from_a_good_cluster() -> None:
    assert unmet(GOOD, ["cp-1"], ready=True) == []


def test_all_that_is_missing_is_named_at_once() -> None:
    cluster = replace(GOOD, nodes=(node_state(READY), node_state(WITHOUT_NETWORK)), dns_available=0)
    assert unmet(cluster, ["cp-1", "worker-1", "worker-2"], ready=True) == [
        "node worker-2 has not joined",
        "node worker-1 has no pod CIDR",
        "node worker-1 is not ready: cni plugin not initialized",
        "CoreDNS has 0 of 2 replicas available",
    ]


def test_members_need_not_be_ready_yet() -> None:
    waiting = node_state({**WITHOUT_NETWORK, "spec": {"podCIDR": "10.42.1.0/24"}})
    assert unmet(replace(GOOD, nodes=(waiting,), dns_available=0), ["worker-1"], ready=False) == []


def test_without_an_initialised_control_plane_there_is_nothing_else_to_say() -> None:
    assert unmet(Cluster(), ["cp-1"], ready=True) == ["the control plane is not initialised"]


def test_dns_that_nobody_declared_is_missed_too() -> None:
    assert unmet(replace(GOOD, dns_wanted=0, dns_available=0), ["cp-1"], ready=True) == [
        "CoreDNS has 0 of 0 replicas available"
    ]
