# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who decides how many replicas there are: the definition, or an autoscaler. Pure.

A field that its only owner leaves out is removed by the server, and replicas that are removed count as 1. So before we
leave them out, another manager of ours takes their present value over; an autoscaler takes it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .ownership import Claim, is_controller
from .resources import Json

__all__ = ["AUTOSCALERS", "SCALED", "Target", "holder", "is_claim_of_autoscaler", "only_replicas", "sole", "targets"]

# (kind, namespace, name) of what is scaled.
Target = tuple[str, str, str]

SCALED = frozenset(("Deployment", "StatefulSet", "ReplicaSet"))
AUTOSCALERS = frozenset(("HorizontalPodAutoscaler", "ScaledObject"))


def holder(manager: str) -> str:
    """The manager that keeps replicas which `manager` has given away."""
    return f"{manager}-replicas"


def targets(objects: Iterable[Mapping[str, Any]]) -> dict[Target, str]:
    """What the autoscalers among the objects scale, with the autoscaler's kind and name."""
    found = {}
    for obj in objects:
        reference = (obj.get("spec") or {}).get("scaleTargetRef")
        if obj.get("kind") in AUTOSCALERS and isinstance(reference, Mapping):
            namespace = str(obj["metadata"].get("namespace") or "")
            target = (str(reference.get("kind") or "Deployment"), namespace, str(reference.get("name")))
            found[target] = f"{obj['kind']} {obj['metadata']['name']}"
    return found


def only_replicas(obj: Mapping[str, Any], replicas: int) -> Json:
    """What a manager applies that decides about nothing but the replicas."""
    metadata = {key: obj["metadata"][key] for key in ("name", "namespace") if key in obj["metadata"]}
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "metadata": metadata,
        "spec": {"replicas": replicas},
    }


def sole(live: Mapping[str, Any], manager: str) -> bool:
    """Whether `manager`, by applying, is the only owner of the replicas."""
    owners = [
        (entry.get("manager"), entry.get("operation"))
        for entry in live["metadata"].get("managedFields") or []
        if "f:replicas" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return owners == [(manager, "Apply")]


def is_claim_of_autoscaler(claim: Claim, manager: str) -> bool:
    """Whether the claim is one that ends with the autoscaler, though it stays on record after it."""
    scaled = claim.subresource == "scale" and is_controller(claim.manager)
    return claim.field == ".spec.replicas" and (scaled or claim.manager == holder(manager))
