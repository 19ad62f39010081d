# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a cluster from its control-plane node, once or until it is what the inventory expects."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node import serving
from ansible_collections.celeryops.platform.plugins.module_utils._node.api import ADMIN, get, status
from ansible_collections.celeryops.platform.plugins.module_utils._node.cluster import (
    Cluster,
    node_state,
    unmet,
)

__all__ = ["survey"]

_SYSTEM = "/namespaces/kube-system"


def _read() -> Cluster:
    if not ADMIN.exists():
        return Cluster()
    code, nodes = get("/api/v1/nodes")
    if code != 200:
        return Cluster()
    _, dns = get(f"/apis/apps/v1{_SYSTEM}/deployments/coredns")
    _, config = get(f"/api/v1{_SYSTEM}/configmaps/coredns")
    _, version = get("/version")
    dns = dns or {}
    return Cluster(
        initialised=status(f"/apis/apps/v1{_SYSTEM}/daemonsets/kube-proxy") == 200,
        version=(version or {}).get("gitVersion", ""),
        nodes=tuple(sorted((node_state(n) for n in nodes["items"]), key=lambda n: n.name)),
        corefile=(config or {}).get("data", {}).get("Corefile", ""),
        dns_wanted=dns.get("spec", {}).get("replicas", 0),
        dns_available=dns.get("status", {}).get("availableReplicas", 0),
    )


def _fingerprint() -> str:
    if not ADMIN.exists():
        return ""
    found = re.search(r"client-certificate-data: (\S+)", ADMIN.read_text(encoding="ascii"))
    return hashlib.sha256(found.group(1).encode()).hexdigest() if found else ""


def survey(names: Sequence[str], *, wait_for: str, timeout: float, result: dict[str, Any]) -> None:
    """Fill ``result`` with the last reading; an error when what is waited for does not come."""
    try:
        _survey(names, wait_for=wait_for, timeout=timeout, result=result)
    finally:
        for node in result.get("nodes", []):
            node["serving"] = serving.problem(node["address"])


def _survey(names: Sequence[str], *, wait_for: str, timeout: float, result: dict[str, Any]) -> None:
    deadline = time.monotonic() + timeout
    while True:
        cluster = _read()
        missing = unmet(cluster, names, ready=True)
        result.update(
            initialised=cluster.initialised,
            complete=not missing,
            unmet=missing,
            version=cluster.version,
            nodes=[asdict(node) for node in cluster.nodes],
            corefile=cluster.corefile,
            fingerprint=_fingerprint(),
        )
        if wait_for == "nothing":
            return
        missing = unmet(cluster, names, ready=wait_for == "ready")
        if not missing:
            return
        if time.monotonic() > deadline:
            raise CeleryOpsError(
                "The cluster does not become what the inventory expects",
                expected=f"within {timeout:.0f} s: nodes {', '.join(names)}, {wait_for}",
                found="; ".join(missing),
                remedy="`kubectl describe node` and `journalctl -u kubelet` on the node say why; then run again",
            )
        time.sleep(0.5)
