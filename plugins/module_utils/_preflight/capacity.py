# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pods fit on nodes. CPU in thousandths of a core, memory in bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding

__all__ = ["Node", "Pods", "cpu", "memory", "pods_from", "room"]

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")


@dataclass(frozen=True)
class Node:
    """A node and what is left on it for the pods in question."""

    name: str
    cpu: int
    memory: int


@dataclass(frozen=True)
class Pods:
    """Equal pods: `count` of them, `surge` more while they are rolled."""

    name: str
    count: int
    surge: int
    cpu: int
    memory: int

    @property
    def most(self) -> int:
        return self.count + self.surge


def cpu(quantity: Any) -> int:
    """Thousandths of a core, from Kubernetes' form: 250m, 0.5, 2."""
    number, unit = _parse(quantity)
    return round(number) if unit == "m" else round(number * _UNITS[unit] * 1000)


def memory(quantity: Any) -> int:
    """Bytes, from Kubernetes' form: 512Mi, 1G, 1048576."""
    number, unit = _parse(quantity)
    return round(number / 1000) if unit == "m" else round(number * _UNITS[unit])


def _parse(quantity: Any) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(str(quantity).strip())
    if not found:
        raise CeleryOpsError(
            f"'{quantity}' is no quantity",
            expected="a number with a unit that Kubernetes knows, such as 250m, 2, 512Mi",
            found=str(quantity),
            remedy="Correct the requests or limits.",
        )
    return float(found.group(1)), found.group(2) or ""


def pods_from(workload: Mapping[str, Any]) -> Pods:
    """{name, replicas, surge, resources: {requests: {cpu, memory}}} as Pods. Raises CeleryOpsError."""
    requests = _part(_part(workload, "resources"), "requests")
    replicas = str(workload["replicas"])
    if not replicas.isdecimal():
        raise CeleryOpsError("replicas is no number", expected="a number", found=replicas, remedy="Correct it.")
    return Pods(
        name=str(workload["name"]),
        count=int(replicas),
        surge=int(workload.get("surge") or 0),
        cpu=cpu(requests.get("cpu", 0)),
        memory=memory(requests.get("memory", 0)),
    )


def _part(whole: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = whole.get(name) or {}
    if not isinstance(part, Mapping):
        raise CeleryOpsError(f"{name} is no mapping", expected="a mapping", found=str(part), remedy="Correct it.")
    return part


def room(nodes: Iterable[Node], workloads: Iterable[Pods]) -> list[Finding]:
    """Nothing when all pods find a place; otherwise what is asked for, what there is, and what finds none.

    Pods are placed largest first, each on the node with the most CPU left: about what the scheduler does.
    """
    nodes, workloads = list(nodes), list(workloads)
    left = {node.name: [node.cpu, node.memory] for node in nodes}
    homeless: dict[str, int] = {}
    singles = sorted((w for w in workloads for _number in range(w.most)), key=lambda w: (-w.cpu, -w.memory, w.name))
    for pod in singles:
        fitting = [name for name, (c, m) in left.items() if c >= pod.cpu and m >= pod.memory]
        if not fitting:
            homeless[pod.name] = homeless.get(pod.name, 0) + 1
            continue
        place = max(fitting, key=lambda name: left[name][0])
        left[place][0] -= pod.cpu
        left[place][1] -= pod.memory
    if not homeless:
        return []
    asked = [sum(w.most * w.cpu for w in workloads), sum(w.most * w.memory for w in workloads)]
    given = [sum(node.cpu for node in nodes), sum(node.memory for node in nodes)]
    missing = ", ".join(f"{count} of {name}" for name, count in sorted(homeless.items()))
    sizes = ", ".join(f"{node.name}: {node.cpu}m, {_mebibytes(node.memory)}" for node in nodes) or "no node"
    each = ", ".join(
        f"{w.name} {w.count}{f'+{w.surge}' if w.surge else ''} x {w.cpu}m, {_mebibytes(w.memory)}" for w in workloads
    )
    return [
        Finding(
            "capacity",
            f"nodes that can allocate {asked[0]}m CPU and {_mebibytes(asked[1])}, surge pods included: {each}",
            f"{given[0]}m CPU, {_mebibytes(given[1])} to allocate ({sizes}); no place for {missing}",
            "Add a node or a larger one, or lower replicas or requests (limits may be twice the requests at most).",
        )
    ]


def _mebibytes(size: int) -> str:
    return f"{size // 2**20}Mi"
