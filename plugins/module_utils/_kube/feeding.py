# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which objects of a set get their pods from which workloads of the same set. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from .resources import Json, Key, key_of

__all__ = ["feeders"]

_LASTING = ("Deployment", "StatefulSet", "DaemonSet")


def feeders(objects: Iterable[Json]) -> dict[Key, set[Key]]:
    """For each Service and PodDisruptionBudget that selects pods of the set's own workloads: these workloads.

    A label that pods get only when they run, such as one for the present primary, is in no template: what selects by
    it is fed by nobody here. Nor does a workload feed that is to have no pods.
    """
    objects = list(objects)
    labels: dict[str, list[tuple[Key, Mapping[str, Any]]]] = defaultdict(list)
    for obj in objects:
        spec = obj.get("spec") or {}
        if obj["kind"] in _LASTING and spec.get("replicas") != 0 and not spec.get("paused"):
            template = (spec.get("template") or {}).get("metadata") or {}
            labels[obj["metadata"].get("namespace") or ""].append((key_of(obj), template.get("labels") or {}))
    found: dict[Key, set[Key]] = {}
    for obj in objects:
        selector = _selector(obj)
        if selector:
            own = labels[obj["metadata"].get("namespace") or ""]
            workloads = {key for key, template in own if selector.items() <= template.items()}
            if workloads:
                found[key_of(obj)] = workloads
    return found


def _selector(obj: Json) -> dict[str, Any]:
    spec = obj.get("spec") or {}
    if obj["kind"] == "Service" and spec.get("type") != "ExternalName":
        return dict(spec.get("selector") or {})
    if obj["kind"] == "PodDisruptionBudget":
        selector = spec.get("selector") or {}
        return {} if selector.get("matchExpressions") else dict(selector.get("matchLabels") or {})
    return {}
