# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a workload's pods and claims cost of a ResourceQuota, counted as the API server's evaluators count. Pure."""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from .quantity import parse_quantity
from .resources import Json

__all__ = ["Usage", "applies", "claim_usage", "crowd", "is_counted", "left", "pod_usage", "total", "with_defaults"]

# Resource of a quota, such as `requests.cpu`, to its amount.
Usage = dict[str, Decimal]

_PLAIN = ("cpu", "memory", "ephemeral-storage")
_ONE = Decimal(1)


def crowd(workload: Mapping[str, Any]) -> tuple[int, int]:
    """(pods, further pods while it rolls) of a workload; (0, 0) where the number depends on others, as on nodes."""
    spec = workload.get("spec") or {}
    if workload["kind"] == "Job":
        parallel = int(spec.get("parallelism", 1))
        return min(parallel, int(spec.get("completions", parallel))), 0
    if workload["kind"] not in ("Deployment", "StatefulSet", "ReplicaSet"):
        return 0, 0
    replicas = int(spec.get("replicas", 1))
    strategy = spec.get("strategy") or {}
    if workload["kind"] != "Deployment" or strategy.get("type") == "Recreate":
        return replicas, 0
    surge = (strategy.get("rollingUpdate") or {}).get("maxSurge", "25%")
    text = str(surge)
    return replicas, math.ceil(replicas * int(text[:-1]) / 100) if text.endswith("%") else int(text)


def pod_usage(pod: Mapping[str, Any]) -> Usage:
    """What one pod that has not ended counts for."""
    spec = pod.get("spec") or {}
    found: Usage = {"pods": _ONE, "count/pods": _ONE}
    for resource, amount in _of_pod(spec, "requests").items():
        if resource in _PLAIN or resource.startswith("hugepages-"):
            found[resource] = amount
        if resource in _PLAIN or resource.startswith("hugepages-") or "/" in resource:
            found[f"requests.{resource}"] = amount
    for resource, amount in _of_pod(spec, "limits").items():
        if resource in _PLAIN:
            found[f"limits.{resource}"] = amount
    return found


def _of_pod(spec: Mapping[str, Any], side: str) -> Usage:
    """Containers run together, init containers one after another, except those that stay."""
    together: Usage = total(_amounts(container, side) for container in spec.get("containers") or [])
    staying: Usage = {}
    highest: Usage = {}
    for container in spec.get("initContainers") or []:
        own = _amounts(container, side)
        if container.get("restartPolicy") == "Always":
            staying = total((staying, own))
            own = {}
        highest = _highest(highest, total((staying, own)))
    found = _highest(total((together, staying)), highest)
    found.update(_amounts(spec, side))
    overhead = {key: parse_quantity(value) or Decimal(0) for key, value in (spec.get("overhead") or {}).items()}
    return total((found, {key: value for key, value in overhead.items() if side == "requests" or key in found}))


def _amounts(holder: Mapping[str, Any], side: str) -> Usage:
    given = (holder.get("resources") or {}).get(side) or {}
    return {key: parse_quantity(value) or Decimal(0) for key, value in given.items()}


def _highest(one: Usage, other: Usage) -> Usage:
    return {key: max(one.get(key, Decimal(0)), other.get(key, Decimal(0))) for key in {*one, *other}}


def total(parts: Iterable[Usage]) -> Usage:
    """The sum, resource by resource."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for part in parts:
        for key, value in part.items():
            found[key] += value
    return dict(found)


def claim_usage(claim: Mapping[str, Any]) -> Usage:
    """What one PersistentVolumeClaim counts for."""
    spec = claim.get("spec") or {}
    size = _amounts(spec, "requests").get("storage", Decimal(0))
    found = {"persistentvolumeclaims": _ONE, "count/persistentvolumeclaims": _ONE, "requests.storage": size}
    if spec.get("storageClassName"):
        prefix = f"{spec['storageClassName']}.storageclass.storage.k8s.io/"
        found |= {f"{prefix}requests.storage": size, f"{prefix}persistentvolumeclaims": _ONE}
    return found


def is_counted(pod: Mapping[str, Any]) -> bool:
    """Whether a pod still counts."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def left(quota: Mapping[str, Any]) -> Usage:
    """What the quota still has, as its controller has counted; before it has, all of it."""
    status = quota.get("status") or {}
    hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
    used = status.get("used") or {}
    return {
        key: (parse_quantity(value) or Decimal(0)) - (parse_quantity(used.get(key, 0)) or Decimal(0))
        for key, value in hard.items()
    }


# Scopes


def applies(quota: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    """Whether the quota counts this pod."""
    spec = quota.get("spec") or {}
    selector = (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    expressions = [*({"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or []), *selector]
    return all(_matches(expression, pod.get("spec") or {}) for expression in expressions)


def _matches(expression: Mapping[str, Any], spec: Mapping[str, Any]) -> bool:
    scope = expression["scopeName"]
    if scope == "PriorityClass":
        return _has_priority(expression, str(spec.get("priorityClassName") or ""))
    holders = [spec, *(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    asks = any(_amounts(one, side).get(key) for one in holders for side in ("requests", "limits") for key in _PLAIN[:2])
    ends = spec.get("activeDeadlineSeconds") is not None
    answers = {
        "Terminating": ends,
        "NotTerminating": not ends,
        "BestEffort": not asks,
        "NotBestEffort": asks,
        "CrossNamespacePodAffinity": _looks_elsewhere(spec),
    }
    return answers.get(scope, False)


def _has_priority(expression: Mapping[str, Any], name: str) -> bool:
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator == "In":
        return name in values
    if operator == "NotIn":
        return name not in values
    return bool(name) == (operator == "Exists")


def _looks_elsewhere(spec: Mapping[str, Any]) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = affinity.get(kind) or {}
        terms = [
            *(rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []),
            *(
                term.get("podAffinityTerm") or {}
                for term in rules.get("preferredDuringSchedulingIgnoredDuringExecution") or []
            ),
        ]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


# Defaults


def with_defaults(pod: Json, limit_ranges: Iterable[Mapping[str, Any]]) -> Json:
    """The pod with what the server would fill in of its containers' resources."""
    filled = copy.deepcopy(pod)
    items = [
        item
        for one in limit_ranges
        for item in (one.get("spec") or {}).get("limits") or []
        if item.get("type") == "Container"
    ]
    for container in [*(filled["spec"].get("containers") or []), *(filled["spec"].get("initContainers") or [])]:
        resources = container.setdefault("resources", {})
        limits, requests = resources.setdefault("limits", {}), resources.setdefault("requests", {})
        # What has a limit and no request requests its limit; that comes before any LimitRange.
        for key, value in list(limits.items()):
            requests.setdefault(key, value)
        for item in items:
            for key, value in (item.get("default") or {}).items():
                limits.setdefault(key, value)
            for key, value in (item.get("defaultRequest") or {}).items():
                requests.setdefault(key, value)
    return filled
