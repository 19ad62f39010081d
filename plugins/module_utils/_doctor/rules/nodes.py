# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that are away, and pods that no machine takes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot

__all__ = ["RULES"]


def node_not_ready(seen: Snapshot) -> Iterator[Verdict]:
    cause = "node-not-ready"
    if not seen.seen("Node"):
        yield Unseen(cause, seen.gap("Node") or "the nodes were not read")
        return
    down = {}
    for node in seen.kind("Node"):
        for condition in (node.get("status") or {}).get("conditions") or ():
            if condition.get("type") == "Ready" and condition.get("status") != "True":
                down[node["metadata"]["name"]] = condition
    if not down:
        yield RuledOut(cause, f"{len(seen.kind('Node'))} of {len(seen.kind('Node'))} nodes are ready")
        return
    # Pods of a node that is away are replaced after minutes only; those are leaving then.
    pods = [pod for one in seen.workloads for pod in one.pods if pod.node in down and not pod.ready]
    name = next((pod.node for pod in pods), min(down))
    yield Finding(
        cause,
        f"Node {name} is not ready" + (f", with it {names(pods)}" if pods else ""),
        Stage.NODE,
        Confidence.CERTAIN,
        tuple(
            Evidence(f"node/{node}", trimmed(f"Ready {one.get('status')}: {one.get('message') or one.get('reason')}"))
            for node, one in sorted(down.items())
        ),
        f"kubectl describe node {name}; on it: systemctl status kubelet containerd. For good: kubectl drain {name} "
        "--ignore-daemonsets --delete-emptydir-data",
        explained(pods),
    )


def unschedulable(seen: Snapshot) -> Iterator[Verdict]:
    cause = "unschedulable"
    pods = [pod for pod in seen.pods() if pod.unschedulable is not None]
    if not pods:
        yield RuledOut(cause, "every pod has a node")
        return
    said = str(pods[0].unschedulable)
    yield Finding(
        cause,
        f"No node takes {names(pods)}",
        Stage.SCHEDULING,
        Confidence.CERTAIN,
        tuple(
            Evidence(f"condition PodScheduled of {pod.subject}", trimmed(str(pod.unschedulable))) for pod in pods[:3]
        ),
        _remedy(said),
        explained(pods),
    )


def _remedy(said: str) -> str:
    lacking = sorted(set(re.findall(r"Insufficient ([a-z-]+[a-z])", said)))
    ways = []
    if lacking:
        ways.append(
            f"lower the {' and '.join(lacking)} requests (celery_worker_resources, celery_worker_profile=small), "
            "celery_worker_replicas, or add a node"
        )
    if re.search(r"node affinity|node selector", said, re.IGNORECASE):
        ways.append("correct node_selector or affinity of the pool, or label a node so")
    if "taint" in said:
        ways.append("take the taint off a node: kubectl taint nodes NODE KEY-, or uncordon it: kubectl uncordon NODE")
    if "persistentvolumeclaim" in said.lower():
        ways.append("see that the claim is bound: kubectl get pvc")
    return "; or ".join(ways) or "correct what the scheduler names"


RULES: tuple[Rule, ...] = (node_not_ready, unschedulable)
