# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a pod or a volume, and how long it is worth waiting for that to pass. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from .quantity import parse_quantity

__all__ = [
    "NEVER",
    "SOON",
    "Trouble",
    "budget_trouble",
    "claim_trouble",
    "creation_trouble",
    "mount_trouble",
    "scheduling_trouble",
    "trouble_of",
    "unready_trouble",
]

Object = Mapping[str, Any]

# Seconds for which a trouble may last before waiting ends.
NOW = 0.0
# Somebody may be about to make what is missing.
SOON = 20.0
# What is tried again by itself, and may well work at the next but one try.
LATER = 60.0
# It depends on others, or on a controller that tells by itself when it gives up.
NEVER = math.inf

_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_IMAGE_NEVER = ("ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
# A registry that answers so will say it again; anything else may be the network.
_IMAGE_REFUSED = re.compile(
    r"not found|manifest unknown|denied|unauthorized|forbidden|authentication required|no basic auth|invalid reference"
    r"|no match for platform|does not exist|unsupported",
    re.IGNORECASE,
)
# A container that waits for others may well end once or twice before they are up.
_EXITS = 3
# Admission says the same of every pod of a template; only a quota may become free.
_QUOTA = "exceeded quota"
_WEBHOOK = "failed calling webhook"
_NODE_CONDITION = "node.kubernetes.io/"
_INSUFFICIENT = "Insufficient "


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not run. `patience`: how many seconds it may last until waiting ends, 0 to infinity.

    `container` is set when its log may tell more; `previous` when the log of the run before does.
    """

    where: str
    reason: str
    message: str
    patience: float
    pod: str = ""
    container: str | None = None
    previous: bool = False

    @property
    def lasting(self) -> bool:
        """Whether it is not worth waiting for at all."""
        return self.patience <= NOW

    def passing(self, patience: float) -> Trouble:
        """The same trouble where it may still go away."""
        return replace(self, patience=max(self.patience, patience))

    def __str__(self) -> str:
        where = self.where + (f", container {self.container}" if self.container else "")
        return f"{where}: {self.reason}: {self.message}" if self.message else f"{where}: {self.reason}"


def _containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _ended(state: Mapping[str, Any]) -> str:
    said = (state.get("message") or "").strip()
    return f"exit code {state.get('exitCode')} ({state.get('reason', '')})" + (f": {said}" if said else "")


def trouble_of(pod: Object) -> Trouble | None:
    """The first thing that keeps the pod from running, or None."""
    name = str(pod["metadata"]["name"])
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            message = str(condition.get("message") or "")
            return Trouble(f"Pod {name}", "Unschedulable", message, NEVER, pod=name)
    for container in _containers(pod):
        found = _container_trouble(name, container)
        if found is not None:
            return found
    if status.get("phase") == "Failed" and status.get("reason"):
        # Whoever made the pod makes another, and leaves this one there as a record.
        return Trouble(f"Pod {name}", str(status["reason"]), str(status.get("message") or ""), NEVER, pod=name)
    return None


def _container_trouble(pod: str, status: Mapping[str, Any]) -> Trouble | None:
    waiting = (status.get("state") or {}).get("waiting") or {}
    reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    patience, previous = None, False
    if reason in _IMAGE_NEVER:
        patience = NOW
    elif reason == "ImagePullBackOff":
        patience = NOW if _IMAGE_REFUSED.search(message) else LATER
    elif reason in _CONFIG:
        patience = SOON
    elif reason == "CrashLoopBackOff":
        last = (status.get("lastState") or {}).get("terminated") or {}
        ends = int(status.get("restartCount") or 0)
        message = f"it has ended {'once' if ends <= 1 else f'{ends} times'}, last with {_ended(last)}"
        patience, previous = (NOW if ends >= _EXITS else NEVER), True
    if patience is None:
        return None
    return Trouble(f"Pod {pod}", reason, message, patience, pod=pod, container=str(status["name"]), previous=previous)


def unready_trouble(pod: Object) -> Trouble | None:
    """The first container that runs and is neither done nor ready: its log may say more."""
    name = str(pod["metadata"]["name"])
    status = pod.get("status") or {}
    for container in _containers(pod):
        if "running" not in (container.get("state") or {}) or container.get("ready"):
            continue
        if container in (status.get("initContainerStatuses") or []):
            said = "it runs before the others, and has not ended"
        elif container.get("started") is False:
            said = "it runs, but its startup probe has not succeeded"
        else:
            said = "it runs, but its readiness probe does not succeed"
        return Trouble(f"Pod {name}", "NotReady", said, NEVER, pod=name, container=str(container["name"]))
    return None


def scheduling_trouble(trouble: Trouble, pod: Object, nodes: Iterable[Object]) -> Trouble:
    """The same trouble, with little patience where no node can ever take the pod, as far as the present nodes go.

    The scheduler says "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu.".
    """
    nodes = list(nodes)
    match = re.match(r"0/(\d+) nodes are available: (.*)", trouble.message)
    if match is None:
        return trouble
    largest = _largest(nodes)
    ruled_out, lacking = 0, 0
    for count, why in re.findall(r"(\d+) ((?:Insufficient [^\s,]+[^\s,.])|node\(s\) (?:[^,{.]|\{[^}]*\})+)", match[2]):
        if why.startswith(_INSUFFICIENT):
            resource = why.removeprefix(_INSUFFICIENT)
            # One node may lack more than one resource.
            if resource in largest and _requested(pod, resource) > largest[resource]:
                lacking = max(lacking, int(count))
        elif _is_lasting(why, nodes):
            ruled_out += int(count)
    return replace(trouble, patience=SOON) if ruled_out + lacking >= int(match[1]) else trouble


def _is_lasting(why: str, nodes: list[Object]) -> bool:
    if "untolerated taint" in why:
        # Those of the node's state go away with it. Later versions of the scheduler name no taint.
        taints = [taint for node in nodes for taint in (node.get("spec") or {}).get("taints") or []]
        passing = why if "{" in why else " ".join(str(taint.get("key")) for taint in taints)
        return _NODE_CONDITION not in passing
    return "didn't match Pod's node affinity" in why or "didn't match PersistentVolume's node affinity" in why


def _largest(nodes: Iterable[Object]) -> dict[str, Decimal]:
    """Of each resource, what the node with the most of it can give."""
    found: dict[str, Decimal] = {}
    for node in nodes:
        for name, value in ((node.get("status") or {}).get("allocatable") or {}).items():
            found[name] = max(found.get(name, Decimal(0)), parse_quantity(value) or Decimal(0))
    return found


def _requested(pod: Object, resource: str) -> Decimal:
    """What the pod asks for at least: its containers together, or an init container alone."""

    def of(container: Mapping[str, Any]) -> Decimal:
        requests = (container.get("resources") or {}).get("requests") or {}
        return parse_quantity(requests.get(resource)) or Decimal(0)

    spec = pod.get("spec") or {}
    together = sum((of(one) for one in spec.get("containers") or []), Decimal(0))
    return max([together, *(of(one) for one in spec.get("initContainers") or [])])


def creation_trouble(maker: Object, message: str) -> Trouble:
    """Pods that were refused when their controller (`maker`) wanted to make them."""
    patience = SOON
    if "is forbidden" in message and _QUOTA not in message:
        patience = NOW
    elif _WEBHOOK in message:
        patience = LATER
    return Trouble(f"{maker['kind']} {maker['metadata']['name']}", "FailedCreate", message, patience)


def budget_trouble(budget: Object) -> Trouble | None:
    """Pods that no controller counts, such as ones that nobody has made: soon, or never."""
    for condition in (budget.get("status") or {}).get("conditions") or []:
        if condition.get("reason") == "SyncFailed":
            where = f"PodDisruptionBudget {budget['metadata']['name']}"
            return Trouble(where, "SyncFailed", str(condition.get("message") or ""), SOON)
    return None


def mount_trouble(pod: Object, reason: str, message: str) -> Trouble:
    """Volumes that a pod waits for: what is missing may come soon, what is still held elsewhere comes free."""
    name = str(pod["metadata"]["name"])
    return Trouble(f"Pod {name}", reason, message, SOON if "not found" in message else NEVER, pod=name)


def claim_trouble(claim: Object, reason: str, message: str) -> Trouble | None:
    """Why a claim is not bound, from what an event says of it; None when the event is no trouble."""
    where = f"PersistentVolumeClaim {claim['metadata']['name']}"
    if reason == "FailedBinding" or (reason == "ProvisioningFailed" and "not found" in message):
        return Trouble(where, reason, message, SOON)
    if reason == "ProvisioningFailed":
        return Trouble(where, reason, message, LATER)
    return None
