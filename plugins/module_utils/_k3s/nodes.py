# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an API server says of its nodes, and whether they are what was asked for. No I/O."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Node", "Wanted", "node", "unmet"]


@dataclass(frozen=True)
class Node:
    """A node. ``heard`` is when its kubelet last said how it is, in seconds since 1970."""

    name: str
    ready: bool
    reason: str
    version: str
    heard: float
    server: bool
    etcd: bool


@dataclass(frozen=True)
class Wanted:
    """A node that has to be ready, with this version, by its own account after ``since``."""

    name: str
    version: str = ""
    since: float = 0.0


def _seconds(text: str) -> float:
    """A time of the API, such as 2026-01-02T03:04:05Z or with a fraction; 0 for none."""
    if not text:
        return 0.0
    whole, _dot, fraction = text.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")


def node(item: Mapping[str, Any], lease: Mapping[str, Any] | None) -> Node:
    """From a Node object and its Lease in kube-node-lease; a kubelet renews either when it is well."""
    metadata, status = item["metadata"], item.get("status", {})
    labels = metadata.get("labels") or {}
    ready: Mapping[str, str] = next((c for c in status.get("conditions") or [] if c["type"] == "Ready"), {})
    renewed = ((lease or {}).get("spec") or {}).get("renewTime") or ""
    return Node(
        name=metadata["name"],
        ready=ready.get("status") == "True",
        reason=ready.get("message", "no condition Ready yet"),
        version=status.get("nodeInfo", {}).get("kubeletVersion", ""),
        heard=max(_seconds(ready.get("lastHeartbeatTime") or ""), _seconds(renewed)),
        server="node-role.kubernetes.io/control-plane" in labels,
        etcd="node-role.kubernetes.io/etcd" in labels,
    )


def unmet(nodes: Sequence[Node], wanted: Sequence[Wanted]) -> list[str]:
    """What is missing until all wanted nodes are ready in the version they have to run."""
    known = {one.name: one for one in nodes}
    problems = []
    for want in wanted:
        there = known.get(want.name)
        if there is None:
            problems.append(f"node {want.name} has not joined")
        # Times of the API have no fractions of a second.
        elif there.heard + 1 < want.since:
            problems.append(f"node {want.name} has not been heard of since its service was started")
        elif not there.ready:
            problems.append(f"node {want.name} is not ready: {there.reason}")
        elif want.version and there.version != want.version:
            problems.append(f"node {want.name} runs {there.version}, not {want.version}")
    return problems
