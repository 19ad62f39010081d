# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a k3d cluster should be, and what runs, as plain data. k3d's JSON is that of its version 5."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["SPEC_LABEL", "Declared", "Node", "Observed", "Port", "Registry", "Scoped", "observed", "parse_port"]

# The declaration travels with the first server, so that a later run compares like with like: of arguments and volumes
# k3d adds some of its own. k3d hands no label but its own on to nodes that are added.
SPEC_LABEL = "celeryops.spec"

_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?")
_LAST_PORT = 65535
_ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - how Docker writes "every address"


class Port(NamedTuple):
    """A published port. An empty `host` number is one that Docker chose, an empty `address` is every address."""

    address: str
    host: str
    inner: str
    protocol: str

    def __str__(self) -> str:
        before = [part for part in (self.address, self.host) if part]
        return ":".join([*before, self.inner]) + ("" if self.protocol == "tcp" else f"/{self.protocol}")


@dataclass(frozen=True)
class Scoped:
    """A port, volume or argument, with k3d's node filters: the nodes it is for."""

    value: str
    filters: tuple[str, ...]

    def covers(self, role: str, index: int) -> bool:
        """Whether a filter names the node `index` of `role`, server or agent."""
        return any(_covers(one, role, index) for one in self.filters)


@dataclass(frozen=True)
class Registry:
    """An image registry that comes and goes with the cluster."""

    name: str
    address: str
    port: int


@dataclass(frozen=True)
class Declared:
    """A cluster as it should be. Without `image` it is k3d's own choice, with an `api_port` of 0 Docker's."""

    name: str
    servers: int = 1
    agents: int = 0
    image: str = ""
    api_address: str = "127.0.0.1"
    api_port: int = 0
    ports: tuple[Scoped, ...] = ()
    volumes: tuple[Scoped, ...] = ()
    args: tuple[Scoped, ...] = ()
    registry: Registry | None = None
    registries: tuple[str, ...] = ()

    @property
    def spec(self) -> dict[str, Any]:
        """What containers keep for life and k3d's listings do not show as it was declared."""
        return {
            "api": f"{self.api_address}:{self.api_port or ''}",
            "args": [_scoped(one) for one in self.args],
            "registries": list(self.registries),
            "registry": "" if self.registry is None else ":".join(str(part) for part in vars(self.registry).values()),
            "volumes": [_scoped(one) for one in self.volumes],
        }


@dataclass(frozen=True)
class Node:
    """One container. `init` marks the server that began an embedded etcd, which others can join."""

    name: str
    role: str
    running: bool
    image: str = ""
    ports: frozenset[Port] = frozenset()
    init: bool = False


@dataclass(frozen=True)
class Observed:
    """What runs under the name of the cluster. `spec` is None for a cluster that was not made from a declaration.

    `registries` maps the names of all registries of k3d to whether they run.
    """

    nodes: tuple[Node, ...]
    spec: Mapping[str, Any] | None = None
    registries: Mapping[str, bool] = field(default_factory=dict)

    def of(self, role: str) -> list[Node]:
        return [node for node in self.nodes if node.role == role]


def observed(
    name: str,
    clusters: Iterable[Mapping[str, Any]],
    containers: Mapping[str, Mapping[str, Any]],
    registries: Iterable[Mapping[str, Any]],
) -> Observed | None:
    """From `k3d cluster list`, `docker inspect` by node name and `k3d registry list`; None where there is no cluster.

    k3d lists an image by its ID and no label but its own: reference and declaration come from Docker.
    """
    listed = next((cluster for cluster in clusters if cluster.get("name") == name), None)
    if listed is None:
        return None
    nodes = []
    spec = None
    for entry in listed.get("nodes") or []:
        config = (containers.get(entry["name"]) or {}).get("Config") or {}
        text = (config.get("Labels") or {}).get(SPEC_LABEL)
        spec = _spec(text) if text is not None else spec
        nodes.append(_node(entry, str(config.get("Image") or "")))
    running = {str(entry["name"]): bool(entry["State"]["Running"]) for entry in registries}
    return Observed(tuple(sorted(nodes, key=lambda node: node.name)), spec, running)


def parse_port(text: str) -> list[Port]:
    """Ports of `[ADDRESS:][HOSTPORT:]PORT[/PROTOCOL]`, where both ports may be ranges. Raises CeleryOpsError."""
    ports, _slash, protocol = text.partition("/")
    *address, outer, inner = ["", "", *ports.rsplit(":", 2)][-3:]
    inners = _numbers(inner)
    outers = _numbers(outer) if outer else [""] * len(inners)
    if not inners or len(inners) != len(outers) or protocol not in ("", "tcp", "udp", "sctp"):
        raise CeleryOpsError(
            f"'{text}' is no port",
            expected="[ADDRESS:][PORT OF THIS MACHINE:]PORT[/tcp or /udp], or ranges of the same length",
            found=text,
            remedy="correct the list of ports",
        )
    host = address[0].strip("[]")
    where = "" if host in _ANYWHERE else host
    return [Port(where, one, other, protocol or "tcp") for one, other in zip(outers, inners, strict=True)]


def _numbers(text: str) -> list[str]:
    """The ports of "80" or "80-82"; none where that is not what it is."""
    match = _RANGE.fullmatch(text)
    if match is None:
        return []
    first, last = int(match[1]), int(match[2] or match[1])
    return [str(number) for number in range(first, last + 1)] if 0 < first <= last <= _LAST_PORT else []


def _covers(filter_: str, role: str, index: int) -> bool:
    group, _colon, subset = filter_.partition(":")
    if group == "all":
        return True
    if group.removesuffix("s") != role:
        return False
    subset = subset.partition(":")[0]
    if subset == "*":
        return True
    if "-" in subset:
        first, _dash, last = subset.partition("-")
        return int(first or 0) <= index <= int(last or index)
    return str(index) in subset.split(",")


def _scoped(one: Scoped) -> str:
    return f"{one.value}@{';'.join(one.filters)}"


def _spec(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _node(entry: Mapping[str, Any], image: str) -> Node:
    # The API's port has an option of its own.
    bindings = {
        inner: bound
        for inner, bound in (entry.get("portMappings") or {}).items()
        if not (inner == "6443/tcp" and entry["role"] in ("loadbalancer", "server"))
    }
    ports = frozenset(
        Port("" if (b.get("HostIp") or "") in _ANYWHERE else b["HostIp"], str(b.get("HostPort") or ""), *_split(inner))
        for inner, bound in bindings.items()
        for b in bound or []
    )
    running = bool(entry["State"]["Running"])
    init = "--cluster-init" in (entry.get("Cmd") or [])
    return Node(str(entry["name"]), str(entry["role"]), running, image, ports, init)


def _split(inner: str) -> tuple[str, str]:
    number, _slash, protocol = inner.partition("/")
    return number, protocol or "tcp"
