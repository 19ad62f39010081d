# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order in which kinds are applied: what others need comes first. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["WORKLOADS", "pod_template", "rank"]

_GROUPS = (
    "Namespace",
    "CustomResourceDefinition",
    "PriorityClass RuntimeClass StorageClass LimitRange ResourceQuota NetworkPolicy",
    "ServiceAccount ClusterRole Role ClusterRoleBinding RoleBinding",
    "ConfigMap Secret",
    "PersistentVolume PersistentVolumeClaim",
    "Service Endpoints EndpointSlice",
    "Deployment StatefulSet DaemonSet ReplicaSet Pod Job CronJob",
    "PodDisruptionBudget HorizontalPodAutoscaler Ingress",
)
_RANKS = {kind: rank for rank, kinds in enumerate(_GROUPS) for kind in kinds.split()}
# What is not listed belongs to an operator, which may come in the same set. What intercepts requests comes last:
# it must not stand in the way of what serves it.
_CUSTOM = len(_GROUPS)
_LAST = _CUSTOM + 1
_INTERCEPTORS = (
    "APIService",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
)

# Kinds whose pods come from a template that can be tried out before it is applied.
WORKLOADS = frozenset(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"))


def rank(kind: str) -> int:
    """Lower comes first."""
    return _LAST if kind in _INTERCEPTORS else _RANKS.get(kind, _CUSTOM)


def pod_template(obj: Mapping[str, Any]) -> dict[str, Any] | None:
    """The pod template of a workload (a part of the object, not a copy)."""
    if obj["kind"] not in WORKLOADS:
        return None
    spec = obj.get("spec") or {}
    if obj["kind"] == "CronJob":
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    template = spec.get("template")
    return template if isinstance(template, dict) else None
