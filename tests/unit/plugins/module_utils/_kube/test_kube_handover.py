# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who decides about replicas."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.handover import (
    is_claim_of_autoscaler,
    only_replicas,
    sole,
    targets,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.ownership import Claim


def test_what_is_scaled() -> None:
    hpa = {
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"kind": "StatefulSet", "name": "redis"}},
    }
    scaled = {
        "kind": "ScaledObject",
        "metadata": {"name": "s", "namespace": "shop"},
        "spec": {"scaleTargetRef": {"name": "worker"}},
    }
    assert targets([hpa, scaled, {"kind": "ConfigMap", "metadata": {"name": "x"}}]) == {
        ("StatefulSet", "shop", "redis"): "HorizontalPodAutoscaler h",
        ("Deployment", "shop", "worker"): "ScaledObject s",
    }


def entry(manager: str, operation: str, field: str = "f:replicas") -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {field: {}}}}


@pytest.mark.parametrize(
    ("entries", "alone"),
    [
        ([entry("celeryops", "Apply")], True),
        ([entry("celeryops", "Apply"), entry("x", "Update", "f:paused")], True),
        ([entry("celeryops", "Apply"), entry("celeryops-replicas", "Apply")], False),
        ([entry("celeryops", "Update")], False),
        ([], False),
    ],
)
def test_the_only_owner(entries: list[Any], alone: bool) -> None:
    assert sole({"metadata": {"managedFields": entries}}, "celeryops") is alone


def test_what_another_manager_takes_over() -> None:
    obj = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "namespace": "shop", "labels": {"a": "b"}},
        "spec": {"paused": True},
    }
    assert only_replicas(obj, 3) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "namespace": "shop"},
        "spec": {"replicas": 3},
    }


@pytest.mark.parametrize(
    ("claim", "ends"),
    [
        (Claim("kube-controller-manager", ".spec.replicas", "scale"), True),
        (Claim("celeryops-replicas", ".spec.replicas"), True),
        (Claim("argocd", ".spec.replicas"), False),
        (Claim("kubectl", ".spec.replicas", "scale"), False),
        (Claim("kube-controller-manager", ".spec.paused", "scale"), False),
    ],
)
def test_claims_that_end_with_the_autoscaler(claim: Claim, ends: bool) -> None:
    assert is_claim_of_autoscaler(claim, "celeryops") is ends
