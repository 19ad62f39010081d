# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, plan, apply: brings a set of local nodes to its declaration, or removes it."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes import access
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.plan import (
    Node,
    Platform,
    plan_absent,
    plan_present,
    strays,
)
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.podman import Host, Podman

__all__ = ["Result", "absent", "present"]


@dataclass
class Result:
    """What was (or would be) done, and how the nodes are reached."""

    actions: list[str] = field(default_factory=list)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)

    def dump(self) -> dict[str, Any]:
        return {
            "changed": bool(self.actions),
            "actions": self.actions,
            "nodes": self.nodes,
            "strays": self.strays,
            "diff": {"before": "", "after": "".join(f"{line}\n" for line in self.actions)},
        }


def present(
    platform: Platform,
    *,
    key: str,
    minimums: Mapping[str, int],
    recreate: bool,
    timeout: float,
    check: bool,
    result: Result,
    podman: Podman | None = None,
) -> None:
    """Fill ``result`` step by step, so that it tells how far a failed run came."""
    podman = podman or Podman()
    host = Host()
    observed = podman.observe(platform.image)
    actions = plan_present(platform, observed, recreate=recreate)
    result.strays = strays(platform, observed)

    for name, (found, wanted) in host.too_low(minimums).items():
        if not check:
            host.raise_to(name, wanted)
        result.actions.append(f"raise kernel setting {name} from {found} to {wanted}")
    for action in actions:
        if not check:
            podman.apply(action, platform)
        result.actions.append(str(action))
    unborn = {a.node.name for a in actions if a.node is not None and a.verb in ("create", "start")} if check else set()
    if not unborn:
        _open_bridge(platform, {} if actions else observed.networks, podman, host, check, result)

    def reach(node: Node) -> tuple[list[str], dict[str, Any]]:
        return _reach(platform, node, podman, key, timeout, check or node.name in unborn, node.name in unborn)

    with ThreadPoolExecutor(max_workers=8) as pool:
        for steps, facts in pool.map(reach, platform.nodes):
            result.actions += steps
            result.nodes.append(facts)


def _open_bridge(
    platform: Platform, known: Mapping[str, Any], podman: Podman, host: Host, check: bool, result: Result
) -> None:
    if not platform.nodes:
        return
    network = known.get(platform.network.name)
    bridge = str(network["bridge"]) if network else podman.bridge(platform.network.name)
    # podman 4's CNI backend gives an internal network no address on the host, and its bridge appears with the
    # first node.
    if not host.has_address(bridge, platform.network.host_address):
        if not check:
            host.add_address(bridge, platform.network.host_address, platform.network.prefix_length)
        result.actions.append(f"add address {platform.network.host_address} to {bridge}")
    if host.drops_between_nodes(bridge):
        if not check:
            host.accept_between_nodes(bridge)
        result.actions.append(f"accept frames between the nodes on {bridge}")


def _reach(
    platform: Platform, node: Node, podman: Podman, key: str, timeout: float, check: bool, unborn: bool
) -> tuple[list[str], dict[str, Any]]:
    container = platform.container(node)
    facts = {"name": node.name, "address": node.address, "container": container, "host_key": ""}
    if unborn:
        return [f"give {node.name} a host key and SSH access"], facts
    steps = []
    found = access.read(podman, container, key)
    if not (found.host_key and found.authorized):
        steps.append(f"give {node.name} a host key and SSH access")
        if check:
            return steps, facts
        access.set_up(podman, container, key)
        found = access.read(podman, container, key)
        if not found.host_key:
            raise CeleryOpsError(
                f"Node {node.name} has no host key",
                expected="an ed25519 key made by ssh-keygen in the node",
                found="none",
                remedy=f"the image {platform.image} needs openssh-server",
            )
    if not check:
        access.wait_for_ssh(node.name, node.address, timeout)
    return steps, facts | {"host_key": found.host_key}


def absent(name: str, *, check: bool, result: Result, podman: Podman | None = None) -> None:
    """Remove what carries the label of platform ``name``; nothing else is touched, and twice is fine."""
    podman = podman or Podman()
    host = Host()
    observed = podman.observe()
    actions = plan_absent(name, observed)
    for action in actions:
        if not check:
            if action.kind == "network":
                host.forget_between_nodes(str(observed.networks[action.name]["bridge"]))
            podman.apply(action, None)
        result.actions.append(str(action))
