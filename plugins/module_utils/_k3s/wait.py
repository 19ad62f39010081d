# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until a host's service runs what is written, and until nodes are ready; says what is missing if not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.api import Api
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import Layout, survey
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.nodes import Node, Wanted, node, unmet
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import run

__all__ = ["read_nodes", "wait_for_nodes", "wait_for_service"]

_PAUSE = 1.0


def _until(missing: Callable[[], list[str]], timeout: float, what: str, remedy: Callable[[], str]) -> None:
    end = time.monotonic() + timeout
    while problems := missing():
        if time.monotonic() > end:
            raise CeleryOpsError(
                f"{what} within {timeout:g} s",
                expected="nothing missing",
                found="; ".join(problems),
                remedy=remedy(),
            )
        time.sleep(_PAUSE)


def lacking(found: dict[str, Any], version: str) -> list[str]:
    """What keeps a host's service from being well and up to date. ``version`` is asked of a server's API server."""
    name, health = found["service"]["name"], found["health"]
    if not found["service"]["active"]:
        return [f"the service {name} is not active"]
    problems = [f"{name} was started before {path} was written" for path in found["outdated"]]
    if name == "k3s":
        if not health["ready"]:
            problems.append("the API server's /readyz is not 200")
        if health["etcd"] is False:
            problems.append("the etcd member is not healthy")
        if version and health["version"] != version:
            problems.append(f"the API server runs {health['version'] or 'nothing'}, not {version}")
    return problems


def _journal(init: str, name: str) -> str:
    if init != "systemd":
        return f"see /var/log/{name}.log"
    said = run(
        ["journalctl", "--unit", f"{name}.service", "--lines", "8", "--output", "cat", "--no-pager"], check=False
    )
    return f"the service's last lines: {said.stdout.strip()[-1500:] or 'none'}"


def wait_for_service(
    layout: Layout, role: str, *, token: str, images: bool, version: str, timeout: float, result: dict[str, Any]
) -> None:
    """Fills in the survey, the latest also after a failure."""

    def missing() -> list[str]:
        result.update(survey(layout, role, token=token, images=images))
        return lacking(result, version)

    _until(
        missing,
        timeout,
        "k3s has not come up on this host",
        lambda: _journal(result["manager"], result["service"]["name"]),
    )


def read_nodes(layout: Layout) -> list[Node] | None:
    """All nodes; None when the API server does not answer."""
    api = Api(layout.config / "k3s.yaml")
    code, found = api.get("/api/v1/nodes")
    if code != 200:
        return None
    _code, leases = api.get("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")
    by_name = {lease["metadata"]["name"]: lease for lease in (leases or {}).get("items") or []}
    return sorted(
        (node(item, by_name.get(item["metadata"]["name"])) for item in found["items"]), key=lambda one: one.name
    )


def wait_for_nodes(layout: Layout, wanted: Sequence[Wanted], *, timeout: float, result: dict[str, Any]) -> None:
    """Fills in the nodes, the latest also after a failure."""

    def missing() -> list[str]:
        found = read_nodes(layout)
        result["nodes"] = [asdict(one) for one in found or []]
        result["unmet"] = ["the API server does not answer"] if found is None else unmet(found, wanted)
        return list(result["unmet"])

    _until(
        missing,
        timeout,
        "Nodes have not become ready",
        lambda: "see the service k3s or k3s-agent on these hosts: journalctl --unit k3s-agent",
    )
