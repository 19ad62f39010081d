# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes objects cut down to what a diagnosis needs, and without what nobody else may see."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.shapes import Redactor, is_secret, shape

__all__ = ["pruned", "referenced"]

Json = dict[str, Any]
_META = ("name", "namespace", "uid", "labels", "creationTimestamp", "deletionTimestamp", "ownerReferences")
_OF_NODE = ("conditions", "allocatable")


def referenced(workloads: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of the ConfigMaps that become somebody's environment."""
    found = set()
    for workload in workloads:
        spec = workload["spec"]["template"]["spec"]
        for container in (*(spec.get("initContainers") or ()), *spec["containers"]):
            for source in container.get("envFrom") or ():
                found.add((source.get("configMapRef") or {}).get("name"))
            for entry in container.get("env") or ():
                found.add(((entry.get("valueFrom") or {}).get("configMapKeyRef") or {}).get("name"))
    return {name for name in found if name}


def pruned(kind: str, obj: Mapping[str, Any], redactor: Redactor, shown: set[str]) -> Json:
    """`shown` are the ConfigMaps whose content counts; of others the name is kept."""
    found: Json = {"kind": kind, **copy.deepcopy({key: value for key, value in obj.items() if key != "apiVersion"})}
    found["metadata"] = {key: value for key, value in obj["metadata"].items() if key in _META}
    if kind == "ConfigMap":
        found.pop("binaryData", None)
        data = obj.get("data") or {} if obj["metadata"]["name"] in shown else {}
        found["data"] = {key: _value(key, value) for key, value in data.items()}
    if kind == "Node":
        found["spec"] = {
            key: value for key, value in (obj.get("spec") or {}).items() if key in ("taints", "unschedulable")
        }
        found["status"] = {key: value for key, value in (obj.get("status") or {}).items() if key in _OF_NODE}
    for spec in _pod_specs(found):
        for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
            for entry in container.get("env") or ():
                if entry.get("value"):
                    entry["value"] = _value(entry["name"], entry["value"])
    return dict(redactor.value(found))


def _value(name: str, value: str) -> Any:
    """The value itself, or its shape where the name says that it is nobody's business."""
    return shape(value) if is_secret(name) else value


def _pod_specs(obj: Json) -> Iterable[Json]:
    spec = obj.get("spec") or {}
    yield spec
    yield ((spec.get("template") or {}).get("spec")) or {}
