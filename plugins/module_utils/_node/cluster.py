# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster says of its nodes and its DNS, and whether that is what the inventory expects. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Cluster", "NodeState", "node_state", "unmet"]


@dataclass(frozen=True)
class NodeState:
    """One node as the API server has it. ``reason`` says why it is not ready."""

    name: str
    address: str
    pod_cidr: str
    ready: bool
    reason: str
    version: str
    runtime: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Cluster:
    """``initialised``: kubeadm init has come to its end (kube-proxy is what it writes last)."""

    initialised: bool = False
    version: str = ""
    nodes: tuple[NodeState, ...] = ()
    corefile: str = ""
    dns_wanted: int = 0
    dns_available: int = 0


def node_state(node: Mapping[str, Any]) -> NodeState:
    """From a Node object."""
    status = node.get("status", {})
    ready: Mapping[str, str] = next((c for c in status.get("conditions", []) if c["type"] == "Ready"), {})
    return NodeState(
        name=node["metadata"]["name"],
        address=next((a["address"] for a in status.get("addresses", []) if a["type"] == "InternalIP"), ""),
        pod_cidr=node.get("spec", {}).get("podCIDR", ""),
        ready=ready.get("status") == "True",
        reason=ready.get("message", "no condition Ready yet"),
        version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
        runtime=status.get("nodeInfo", {}).get("containerRuntimeVersion", ""),
        labels=node["metadata"].get("labels", {}),
    )


def unmet(cluster: Cluster, names: Sequence[str], *, ready: bool) -> list[str]:
    """What keeps the cluster from having these nodes with pod ranges and, if ``ready``, running pods."""
    if not cluster.initialised:
        return ["the control plane is not initialised"]
    known = {node.name: node for node in cluster.nodes}
    problems = [f"node {name} has not joined" for name in names if name not in known]
    for name in names:
        node = known.get(name)
        if node is None:
            continue
        if not node.pod_cidr:
            problems.append(f"node {name} has no pod CIDR")
        if ready and not node.ready:
            problems.append(f"node {name} is not ready: {node.reason}")
    if ready and cluster.dns_available < max(1, cluster.dns_wanted):
        problems.append(f"CoreDNS has {cluster.dns_available} of {cluster.dns_wanted} replicas available")
    return problems
