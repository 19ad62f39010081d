# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set of local nodes should be, what there is, and the steps from one to the other. No I/O."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = [
    "PLATFORM_LABEL",
    "SPEC_LABEL",
    "Action",
    "Container",
    "Mount",
    "Network",
    "Node",
    "Observed",
    "Platform",
    "drift",
    "names",
    "plan_absent",
    "plan_present",
    "strays",
    "validate",
]

PLATFORM_LABEL = "celeryops.platform"
# The declared settings travel with the container, so that a later run compares like with like: what podman
# reports back is spelled differently from what was asked for, and differs between its versions.
SPEC_LABEL = "celeryops.spec"


@dataclass(frozen=True)
class Network:
    """A podman network. ``host_address`` is what the host itself gets on its bridge."""

    name: str
    subnet: str

    @property
    def host_address(self) -> str:
        return str(ipaddress.ip_network(self.subnet)[1])

    @property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self.subnet).prefixlen


@dataclass(frozen=True)
class Mount:
    """A directory of the host, seen by the nodes under ``target``."""

    source: str
    target: str
    read_only: bool = True


@dataclass(frozen=True)
class Node:
    """One inventory host."""

    name: str
    address: str


@dataclass(frozen=True)
class Platform:
    """Everything that was declared."""

    name: str
    network: Network
    image: str
    nodes: tuple[Node, ...]
    prefix: str
    volumes: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    runtime: str = "runc"
    ulimits: tuple[str, ...] = ()
    # Where the image is loaded from when podman's storage lacks it; no part of what makes a node this node.
    archive: str = ""

    def container(self, node: Node) -> str:
        return f"{self.prefix}{node.name}"

    def volume(self, node: Node, path: str) -> str:
        return f"{self.container(node)}-{path.strip('/').replace('/', '-')}"

    def spec(self, node: Node) -> dict[str, Any]:
        """The settings that cannot be changed on a container once it exists."""
        return {
            "address": node.address,
            "hostname": node.name,
            "image": self.image,
            "mounts": [f"{m.source}:{m.target}:{'ro' if m.read_only else 'rw'}" for m in self.mounts],
            "network": f"{self.network.name} {self.network.subnet}",
            "runtime": self.runtime,
            "ulimits": list(self.ulimits),
            "volumes": list(self.volumes),
        }


@dataclass(frozen=True)
class Container:
    """A container as podman reports it."""

    name: str
    running: bool
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Observed:
    """What is on the host: all containers (a name may be taken), networks, and volumes with their labels.

    ``filled``: volumes of the platform that hold something.
    """

    containers: Mapping[str, Container] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    image_present: bool = True
    filled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Action:
    """One step: ``verb`` and ``kind`` say what, ``name`` on which object."""

    verb: str
    kind: str
    name: str
    node: Node | None = None
    path: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


def validate(platform: Platform) -> None:
    """Refuse what podman would refuse late or, worse, accept."""
    problems = []
    try:
        subnet = ipaddress.IPv4Network(platform.network.subnet)
        if subnet.num_addresses < 8:
            raise ValueError(f"{subnet} has no room for nodes")
    except ValueError as error:
        raise CeleryOpsError(
            f"The subnet of network {platform.network.name} cannot be used",
            expected="an IPv4 network such as 10.89.60.0/24",
            found=str(error),
            remedy="set local_nodes_subnet",
        ) from error
    seen: dict[str, str] = {}
    for node in platform.nodes:
        try:
            address = ipaddress.ip_address(node.address)
        except ValueError:
            problems.append(f"{node.name}: {node.address!r} is not an IP address")
            continue
        if address not in subnet:
            problems.append(f"{node.name}: {address} is outside {subnet}")
        elif str(address) in (
            str(subnet.network_address),
            str(subnet.broadcast_address),
            platform.network.host_address,
        ):
            problems.append(f"{node.name}: {address} is taken by the network or the host")
        if str(address) in seen:
            problems.append(f"{node.name}: {address} is also the address of {seen[str(address)]}")
        seen[str(address)] = node.name
    if problems:
        raise CeleryOpsError(
            "Addresses of nodes cannot be used",
            expected=f"one address per node inside {subnet}, other than {platform.network.host_address}",
            found="; ".join(problems),
            remedy="correct ansible_host of these hosts in the inventory",
        )


def _owned(labels: Mapping[str, str], platform: str) -> bool:
    return labels.get(PLATFORM_LABEL) == platform


def drift(platform: Platform, node: Node, labels: Mapping[str, str]) -> dict[str, tuple[Any, Any]]:
    """Setting → (what the container was made with, what is declared now), for those that differ."""
    try:
        made = json.loads(labels.get(SPEC_LABEL, "{}"))
    except ValueError:
        made = {}
    wanted = platform.spec(node)
    return {key: (made.get(key), wanted[key]) for key in wanted if made.get(key) != wanted[key]}


def _refuse_foreign(platform: Platform, observed: Observed) -> None:
    taken = []
    network = observed.networks.get(platform.network.name)
    if network is not None and not _owned(network.get("labels") or {}, platform.name):
        taken.append(f"network {platform.network.name}")
    for node in platform.nodes:
        container = observed.containers.get(platform.container(node))
        if container is not None and not _owned(container.labels, platform.name):
            taken.append(f"container {container.name}")
        for path in platform.volumes:
            volume = platform.volume(node, path)
            if volume in observed.volumes and not _owned(observed.volumes[volume], platform.name):
                taken.append(f"volume {volume}")
    if taken:
        raise CeleryOpsError(
            f"Names of platform {platform.name} are taken by things that it did not make",
            expected=f"no such object, or one with the label {PLATFORM_LABEL}={platform.name}",
            found=", ".join(taken),
            remedy="remove them, or choose another platform_name (or local_nodes_prefix, local_nodes_network)",
        )


def plan_present(platform: Platform, observed: Observed, *, recreate: bool) -> list[Action]:
    """Steps in the order in which they must happen; an empty list when there is nothing to do.

    A container whose settings differ is made anew, its volumes with it, only where ``recreate`` allows it:
    that is a new machine, and what the old one held is gone.
    """
    if not platform.image:
        raise CeleryOpsError(
            "No image is declared for the nodes",
            expected="a reference such as localhost/celeryops/node:1",
            found="nothing",
            remedy="run the role artifacts before this one, or set local_nodes_image",
        )
    validate(platform)
    _refuse_foreign(platform, observed)
    gone = _outdated(platform, observed, recreate)
    actions = [step for node in gone for step in _removal(platform, node, observed)]
    gone += (bereft := _bereft(platform, observed, recreate))
    actions += [Action("remove", "volume", name) for node in bereft for name in _volumes(platform, node, observed)]
    actions += _network_steps(platform, observed, gone)
    for node in platform.nodes:
        actions += _node_steps(platform, node, observed, gone)
    if observed.image_present or not any(a.verb == "create" and a.kind == "container" for a in actions):
        return actions
    if not platform.archive:
        raise CeleryOpsError(
            "The image of the nodes is not in podman's storage",
            expected=platform.image,
            found="no such image",
            remedy="run the role artifacts first (make artifacts), or set local_nodes_image and its archive",
        )
    return [Action("load", "image", platform.image), *actions]


def _outdated(platform: Platform, observed: Observed, recreate: bool) -> list[Node]:
    changed = {}
    for node in platform.nodes:
        container = observed.containers.get(platform.container(node))
        if container is not None and (differs := drift(platform, node, container.labels)):
            changed[node.name] = differs
    if changed and not recreate:
        raise CeleryOpsError(
            "Nodes differ from their declaration in settings that a container keeps for life",
            expected=_settings(changed, 1),
            found=_settings(changed, 0),
            remedy="undo the change, or make these nodes anew, with the loss of all they hold: "
            "-e local_nodes_recreate=true",
            drift={n: sorted(d) for n, d in changed.items()},
        )
    return [node for node in platform.nodes if node.name in changed]


def _removal(platform: Platform, node: Node, observed: Observed) -> list[Action]:
    return [
        Action("remove", "container", platform.container(node), node),
        *(Action("remove", "volume", name) for name in _volumes(platform, node, observed)),
    ]


def _volumes(platform: Platform, node: Node, observed: Observed) -> list[str]:
    start = f"{platform.container(node)}-"
    return sorted(
        name for name, labels in observed.volumes.items() if name.startswith(start) and _owned(labels, platform.name)
    )


def _bereft(platform: Platform, observed: Observed, recreate: bool) -> list[Node]:
    """Nodes whose container is gone while its volumes hold something: half a machine is none."""
    bereft = [
        node
        for node in platform.nodes
        if platform.container(node) not in observed.containers
        and observed.filled.intersection(_volumes(platform, node, observed))
    ]
    if bereft and not recreate:
        raise CeleryOpsError(
            "Nodes have lost their container, but not their volumes",
            expected="both, or neither",
            found="volumes with data of " + ", ".join(platform.container(node) for node in bereft),
            remedy="save what is needed from them, then begin with empty ones: -e local_nodes_recreate=true",
        )
    return bereft


def _network_steps(platform: Platform, observed: Observed, gone: Sequence[Node]) -> list[Action]:
    network = observed.networks.get(platform.network.name)
    create = Action("create", "network", platform.network.name)
    if network is None:
        return [create]
    if network.get("subnet") == platform.network.subnet:
        return []
    kept = [platform.container(n) for n in platform.nodes if n not in gone]
    if users := [name for name in kept if name in observed.containers]:
        raise CeleryOpsError(
            f"Network {platform.network.name} has another subnet",
            expected=platform.network.subnet,
            found=f"{network.get('subnet')}, used by {', '.join(users)}",
            remedy="run playbooks/teardown.yml with the old settings first",
        )
    return [Action("remove", "network", platform.network.name), create]


def _node_steps(platform: Platform, node: Node, observed: Observed, gone: Sequence[Node]) -> list[Action]:
    container = observed.containers.get(platform.container(node))
    fresh = container is None or node in gone
    actions = [
        Action("create", "volume", platform.volume(node, path), node, path)
        for path in platform.volumes
        if platform.volume(node, path) not in observed.volumes or node in gone
    ]
    if fresh:
        actions.append(Action("create", "container", platform.container(node), node))
    if fresh or (container is not None and not container.running):
        actions.append(Action("start", "container", platform.container(node), node))
    return actions


def _settings(changed: Mapping[str, Mapping[str, tuple[Any, Any]]], side: int) -> str:
    return "; ".join(
        f"{node}: " + ", ".join(f"{key}={values[side]!r}" for key, values in settings.items())
        for node, settings in changed.items()
    )


def plan_absent(name: str, observed: Observed) -> list[Action]:
    """Everything that carries the platform's label, whatever the declaration says by now."""
    containers = [c.name for c in observed.containers.values() if _owned(c.labels, name)]
    volumes = [v for v, labels in observed.volumes.items() if _owned(labels, name)]
    networks = [n for n, net in observed.networks.items() if _owned(net.get("labels") or {}, name)]
    return [
        *(Action("remove", "container", c) for c in sorted(containers)),
        *(Action("remove", "volume", v) for v in sorted(volumes)),
        *(Action("remove", "network", n) for n in sorted(networks)),
    ]


def strays(platform: Platform, observed: Observed) -> list[str]:
    """Containers of this platform that no node declares any more: left alone, but worth a word."""
    declared = {platform.container(node) for node in platform.nodes}
    return sorted(
        c.name for c in observed.containers.values() if _owned(c.labels, platform.name) and c.name not in declared
    )


def names(actions: Sequence[Action]) -> list[str]:
    """The steps as text, for results and diffs."""
    return [str(action) for action in actions]
