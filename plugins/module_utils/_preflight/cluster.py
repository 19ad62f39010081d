# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is there already: whether it answers, what its nodes have left, where volumes come from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._preflight import capacity
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding

__all__ = ["inspect", "left_over", "storage"]

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def inspect(api: Api, namespace: str, storage_class: str) -> tuple[list[Finding], list[capacity.Node]]:
    """What is wrong with the cluster, and its nodes with the room that pods of other namespaces leave.

    What an account that is confined to its namespace may not see is not judged.
    """
    try:
        nodes = _visible(api, "v1", "Node")
        pods = _visible(api, "v1", "Pod", field_selector="status.phase!=Succeeded,status.phase!=Failed")
        classes = _visible(api, "storage.k8s.io/v1", "StorageClass")
    except KubeError as error:
        remedy = error.remedy or "Check platform_kubeconfig and platform_context, and that the user may list nodes."
        expected = f"an answer from the Kubernetes API at {api.host}"
        return [Finding("cluster", expected, error.found or error.message, remedy)], []
    found = [] if classes is None else storage(classes, storage_class)
    return found, [] if nodes is None or pods is None else left_over(nodes, pods, namespace)


def _visible(api: Api, api_version: str, kind: str, field_selector: str | None = None) -> list[dict[str, Any]] | None:
    """All objects of a kind in the whole cluster; None where the account may not list them."""
    try:
        return api.list(api_version, kind, field_selector=field_selector)
    except KubeError as error:
        if error.status == 403:
            return None
        raise


def storage(classes: Iterable[Mapping[str, Any]], wanted: str) -> list[Finding]:
    """The wanted StorageClass, or, where none is named, one that is the default."""
    known = {item["metadata"]["name"]: item["metadata"].get("annotations") or {} for item in classes}
    if wanted in known or (not wanted and any(a.get(_DEFAULT_CLASS) == "true" for a in known.values())):
        return []
    return [
        Finding(
            "storage",
            f"StorageClass {wanted}" if wanted else "a StorageClass that is the default",
            ", ".join(sorted(known)) or "no StorageClass",
            "Set redis_storage_class and postgresql_storage_class to one of them, or annotate one as the default.",
        )
    ]


def left_over(
    nodes: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]], namespace: str
) -> list[capacity.Node]:
    """Nodes that take pods, with what they can allocate less the requests of pods of other namespaces."""
    used: dict[str, list[int]] = {}
    for pod in pods:
        if pod["metadata"]["namespace"] != namespace:
            one = used.setdefault(pod["spec"].get("nodeName", ""), [0, 0])
            for container in pod["spec"]["containers"]:
                requests = (container.get("resources") or {}).get("requests") or {}
                one[0] += capacity.cpu(requests.get("cpu", 0))
                one[1] += capacity.memory(requests.get("memory", 0))
    result = []
    for node in nodes:
        taints = {taint["effect"] for taint in node["spec"].get("taints") or []}
        if node["spec"].get("unschedulable") or taints & {"NoSchedule", "NoExecute"}:
            continue
        name, allocatable = node["metadata"]["name"], node["status"]["allocatable"]
        cpu, memory = used.get(name, [0, 0])
        left = (capacity.cpu(allocatable["cpu"]) - cpu, capacity.memory(allocatable["memory"]) - memory)
        result.append(capacity.Node(name, *left))
    return result
