# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of a cluster: cordoned, drained and given back, or cut off for some seconds."""

from __future__ import annotations

import inspect
import json
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._drill import cut, hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.evict import evicted
from ansible_collections.celeryops.platform.plugins.module_utils._drill.waiting import in_vain, wait_until
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

__all__ = ["Nodes", "chosen", "evictable", "restart_backoff", "seconds_of", "unmanaged"]

Json = dict[str, Any]
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
MIRROR = "kubernetes.io/config.mirror"
PAUSE = 1.0
# Members of a control plane that bear the loss of one
QUORATE = 3
# Seconds that a kubelet lets a container wait at most that ends again and again, unless it is told otherwise
BACKOFF = 300.0


def seconds_of(duration: str) -> float:
    """A duration as Go writes it, such as 1m30s."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(float(figure) * units[unit] for figure, unit in re.findall(r"([\d.]+)(ms|h|m|s)", duration))


def restart_backoff(api: Api) -> float | None:
    """For how many seconds a killed container may have to wait for its restart; None where no kubelet may be asked."""
    found = []
    try:
        for node in api.list("v1", "Node"):
            path = f"/api/v1/nodes/{node['metadata']['name']}/proxy/configz"
            given = (api.request("GET", path)["kubeletconfig"].get("crashLoopBackOff") or {}).get(
                "maxContainerRestartPeriod"
            )
            found.append(seconds_of(given) if given else BACKOFF)
    except (KubeError, KeyError, TypeError):
        return None
    return max(found, default=None)


def _controller(pod: Json) -> Json | None:
    owners = pod["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def _stays(pod: Json) -> bool:
    """A pod that no drain touches: its node's own, a DaemonSet's, one that has ended, or a drill's."""
    owner = _controller(pod) or {}
    return (
        MIRROR in (pod["metadata"].get("annotations") or {})
        or owner.get("kind") in ("DaemonSet", "Node")
        or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        or pod["metadata"]["namespace"] == hands.NAMESPACE
    )


def evictable(pods: Sequence[Json]) -> list[Json]:
    return [pod for pod in pods if not _stays(pod) and _controller(pod)]


def unmanaged(pods: Sequence[Json]) -> list[str]:
    """Pods that nobody would bring back."""
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if not _stays(pod) and not _controller(pod)
    ]


def _ready(node: Json) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _usable(node: Json) -> bool:
    return _ready(node) and not node["spec"].get("unschedulable")


def _control(node: Json) -> bool:
    return CONTROL_PLANE in (node["metadata"].get("labels") or {})


def _reached_through(node: Json, host: str) -> bool:
    """Whether the URL of the API server names this node itself. A name is not looked up: it may lead to several."""
    named = {one["address"] for one in node.get("status", {}).get("addresses") or []}
    return (urlsplit(host).hostname or "") in named


def _may_be_lost(node: Json, host: str, members: int) -> bool:
    return not _control(node) or (members >= QUORATE and not _reached_through(node, host))


def chosen(nodes: Sequence[Json], wanted: Sequence[str], *, loss: bool, host: str) -> list[str]:
    """The nodes that are drilled, by name; all that may be where none is named. ``host``: the API server's URL.

    Raises CeleryOpsError for one that must not: not well, cordoned by somebody else, or, where it would be lost, one of
    the control plane without which nobody could see what happens.
    """
    by_name = {node["metadata"]["name"]: node for node in nodes}
    members = sum(_ready(node) and _control(node) for node in nodes)
    may = [
        name
        for name, node in sorted(by_name.items())
        if _usable(node) and (not loss or _may_be_lost(node, host, members))
    ]
    usable = sum(map(_usable, nodes))
    wrong = [name for name in wanted if name not in may]
    if wrong or not may or usable < 2:
        what = (
            "nodes outside of the control plane, or of one of three that is reached by an address in front of them"
            if loss
            else "nodes"
        )
        raise CeleryOpsError(
            "these nodes cannot be drilled",
            expected=f"{what}, ready and not cordoned, with another one to take their pods",
            found=f"{', '.join(wrong) or 'nobody'} asked for that is not; {', '.join(may) or 'none'} that may be",
            remedy="correct nodes, or bring the nodes up and uncordon them first",
        )
    return list(wanted) or may


def _not_cut(name: str, found: str) -> CeleryOpsError:
    return CeleryOpsError(
        f"node {name} could not be cut off",
        expected="a kernel with nftables for devices, and a privileged pod that may use it",
        found=found.strip()[-500:] or "a pod that failed without a word",
        remedy="drill with node_drain there",
    )


class Nodes:
    """``timeout``: seconds for a node to be empty, and for what ran on it to be whole again."""

    def __init__(self, api: Api, timeout: float) -> None:
        self.api = api
        self.timeout = timeout
        self.cordoned: set[str] = set()

    @property
    def host(self) -> str:
        return self.api.host

    def all(self) -> list[Json]:
        return self.api.list("v1", "Node")

    def pods(self, node: str) -> list[Json]:
        return self.api.list("v1", "Pod", field_selector=f"spec.nodeName={node}")

    def refuse(self, names: Sequence[str]) -> None:
        """Raises CeleryOpsError for nodes whose drain would take away what nobody brings back."""
        lone = [pod for name in names for pod in unmanaged(self.pods(name))]
        if lone:
            raise CeleryOpsError(
                "a drain would remove pods for good",
                expected="pods that a controller replaces",
                found=", ".join(lone),
                remedy="delete them, or name other nodes in nodes",
            )

    def drain(self, name: str) -> int:
        """Cordons the node and evicts everything that is evictable; how many pods. They are gone when this returns."""
        self.cordoned.add(name)
        self._cordon(name, on=True)
        victims = evictable(self.pods(name))
        waiting = list(victims)

        def empty() -> bool:
            waiting[:] = [pod for pod in waiting if not evicted(self.api, pod)]
            uids = {pod["metadata"]["uid"] for pod in self.pods(name)}
            return not waiting and not any(pod["metadata"]["uid"] in uids for pod in victims)

        def left() -> str:
            names = [pod["metadata"]["name"] for pod in waiting]
            return f"held back by disruption budgets: {', '.join(names)}" if names else "pods that take long to end"

        self._wait(empty, f"an empty node {name}", left)
        return len(victims)

    def uncordon(self, name: str) -> None:
        self._cordon(name, on=False)
        self.cordoned.discard(name)

    def put_back(self) -> None:
        for name in sorted(self.cordoned):
            self.uncordon(name)

    def _cordon(self, name: str, *, on: bool) -> None:
        body = {"spec": {"unschedulable": True if on else None}}
        self.api.patch(ObjectRef("v1", "Node", name), body, field_manager=hands.MANAGER)

    def owners(self, name: str) -> list[ObjectRef]:
        """The controllers of what runs on a node, which have all their pods again when it is over."""
        found = {
            ObjectRef(owner["apiVersion"], owner["kind"], owner["name"], pod["metadata"]["namespace"])
            for pod in evictable(self.pods(name))
            if (owner := _controller(pod)) and owner["kind"] in ("ReplicaSet", "StatefulSet")
        }
        return sorted(found, key=str)

    def wait_whole(self, name: str, owners: Sequence[ObjectRef]) -> None:
        """The node is ready, and so are all pods of these controllers."""
        lacking: list[str] = []

        def whole() -> bool:
            node = self.api.get(ObjectRef("v1", "Node", name))
            lacking[:] = [] if node and _ready(node) else [f"Node {name}"]
            for ref in owners:
                found = self.api.get(ref)
                if found and found.get("status", {}).get("readyReplicas", 0) < found["spec"].get("replicas", 1):
                    lacking.append(str(ref))
            return not lacking

        self._wait(whole, f"what ran on node {name}", lambda: f"not ready: {', '.join(lacking)}")

    def cut(self, name: str, image: str, python: str, seconds: float) -> Json:
        """Nothing reaches or leaves the node for so long; what the pod there told when it was over."""
        node = self.api.get(ObjectRef("v1", "Node", name)) or {}
        known = [one["address"] for one in node.get("status", {}).get("addresses") or [] if one["type"] != "Hostname"]
        options = json.dumps({"addresses": known, "seconds": seconds, "stay": self.timeout})
        text = f"{inspect.getsource(cut)}\nmain(json.loads({options!r}))\n"
        pod = hands.pod(f"cut-{secrets.token_hex(3)}", name, image, [python, "-c", text], hostNetwork=True)
        made = self.api.create(pod)
        try:
            return self._told(made, name, seconds)
        finally:
            self.api.delete(ObjectRef.of(made), grace_seconds=0, uid=made["metadata"]["uid"])

    def _told(self, made: Json, name: str, seconds: float) -> Json:
        """What the pod has to tell can be read only afterwards: its node is away."""
        answers: list[str] = []
        over = time.monotonic() + seconds

        def told() -> bool:
            pod = self.api.get(ObjectRef.of(made)) or {"status": {"phase": "Failed"}}
            if pod["status"].get("phase") == "Failed":
                raise _not_cut(name, self._said(made))
            if time.monotonic() > over:
                answers[:] = [line for line in self._said(made).splitlines() if line.startswith("{")]
            return bool(answers)

        # The node comes back by itself; what is asked meanwhile may have to wait for an API server that was with it.
        wait_until(told, seconds + self.timeout, lambda: _not_cut(name, "no word of the pod there"), PAUSE)
        answer: Json = json.loads(answers[-1])
        return answer

    def _said(self, pod: Json) -> str:
        try:
            return self.api.pod_log(pod["metadata"]["namespace"], pod["metadata"]["name"])
        except KubeError:
            # Its kubelet is not back yet, or it has said nothing.
            return ""

    def _wait(self, ready: Callable[[], bool], what: str, found: Callable[[], str]) -> None:
        remedy = "kubectl describe what is named, or raise timeout"
        wait_until(ready, self.timeout, lambda: in_vain(what, self.timeout, found(), remedy), PAUSE)
