# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods and claims cost, and which quota counts them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.quantity import format_quantity
from ansible_collections.celeryops.platform.plugins.module_utils._kube.quota import (
    applies,
    claim_usage,
    crowd,
    left,
    pod_usage,
    with_defaults,
)

MI = 1024**2


def container(cpu: str, memory: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}, **more}


def pod(*containers: Any, **spec: Any) -> dict[str, Any]:
    return {"spec": {"containers": list(containers), **spec}}


@pytest.mark.parametrize(
    ("kind", "spec", "pods"),
    [
        ("Deployment", {}, (1, 1)),
        ("Deployment", {"replicas": 10}, (10, 3)),
        ("Deployment", {"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": 2}}}, (3, 2)),
        ("Deployment", {"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": "0%"}}}, (3, 0)),
        ("Deployment", {"replicas": 3, "strategy": {"type": "Recreate"}}, (3, 0)),
        ("StatefulSet", {"replicas": 3}, (3, 0)),
        ("DaemonSet", {}, (0, 0)),
        ("Job", {"parallelism": 4, "completions": 2}, (2, 0)),
        ("Job", {}, (1, 0)),
    ],
)
def test_how_many_pods_there_may_be(kind: str, spec: Any, pods: tuple[int, int]) -> None:
    assert crowd({"kind": kind, "spec": spec}) == pods


def test_containers_together_and_init_containers_one_by_one() -> None:
    usage = pod_usage(
        pod(
            container("100m", "64Mi"),
            container("200m", "64Mi"),
            initContainers=[
                container("500m", "32Mi"),
                container("50m", "16Mi", restartPolicy="Always"),
                container("100m", "32Mi"),
            ],
            overhead={"cpu": "10m", "memory": "1Mi"},
        )
    )
    assert usage == {
        "pods": 1,
        "count/pods": 1,
        "cpu": Decimal("0.51"),
        "requests.cpu": Decimal("0.51"),
        "memory": 145 * MI,
        "requests.memory": 145 * MI,
        "limits.memory": 145 * MI,
    }


def test_resources_of_the_pod_as_a_whole_and_others() -> None:
    usage = pod_usage(
        pod(
            {"resources": {"requests": {"example.com/gpu": 2, "hugepages-2Mi": "4Mi", "ephemeral-storage": "1Gi"}}},
            resources={"requests": {"cpu": 2}},
        )
    )
    assert usage == {
        "pods": 1,
        "count/pods": 1,
        "cpu": 2,
        "requests.cpu": 2,
        "requests.example.com/gpu": 2,
        "hugepages-2Mi": 4 * MI,
        "requests.hugepages-2Mi": 4 * MI,
        "ephemeral-storage": 1024 * MI,
        "requests.ephemeral-storage": 1024 * MI,
    }


def test_claims() -> None:
    claim = {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Mi"}}}}
    assert claim_usage(claim) == {
        "persistentvolumeclaims": 1,
        "count/persistentvolumeclaims": 1,
        "requests.storage": MI,
        "fast.storageclass.storage.k8s.io/requests.storage": MI,
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": 1,
    }


def test_what_is_left() -> None:
    status = {"hard": {"cpu": "2", "pods": "4"}, "used": {"cpu": "500m"}}
    assert left({"spec": {"hard": {"cpu": "9"}}, "status": status}) == {"cpu": Decimal("1.5"), "pods": 4}
    assert left({"spec": {"hard": {"cpu": "9"}}}) == {"cpu": 9}


def by_priority(operator: str, *values: str) -> dict[str, Any]:
    expression = {"scopeName": "PriorityClass", "operator": operator, "values": list(values)}
    return {"scopeSelector": {"matchExpressions": [expression]}}


ELSEWHERE = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"namespaces": ["x"]}]}}
EASIER = {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaceSelector": {}}}]}


@pytest.mark.parametrize(
    ("quota", "spec", "counts"),
    [
        ({}, {}, True),
        ({"scopes": ["BestEffort"]}, {}, True),
        ({"scopes": ["NotBestEffort"]}, {}, False),
        ({"scopes": ["NotBestEffort"]}, {"containers": [container("1", "1")]}, True),
        ({"scopes": ["Terminating"]}, {"activeDeadlineSeconds": 0}, True),
        ({"scopes": ["NotTerminating", "BestEffort"]}, {"activeDeadlineSeconds": 5}, False),
        (by_priority("In", "a", "b"), {"priorityClassName": "b"}, True),
        (by_priority("In", "a"), {}, False),
        (by_priority("NotIn", "a"), {}, True),
        (by_priority("NotIn", "a"), {"priorityClassName": "a"}, False),
        (by_priority("Exists"), {"priorityClassName": "a"}, True),
        (by_priority("Exists"), {}, False),
        (by_priority("DoesNotExist"), {}, True),
        ({"scopes": ["PriorityClass"]}, {"priorityClassName": "a"}, True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, {"affinity": ELSEWHERE}, True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, {"affinity": {"podAffinity": EASIER}}, True),
        ({"scopes": ["CrossNamespacePodAffinity"]}, {"affinity": {"podAffinity": {}}}, False),
    ],
)
def test_scopes(quota: Any, spec: Any, counts: bool) -> None:
    assert applies({"spec": quota}, {"spec": spec}) is counts


def test_defaults_are_filled_in_as_the_server_does() -> None:
    items = [
        {
            "type": "Container",
            "default": {"cpu": "2", "memory": "1Gi"},
            "defaultRequest": {"cpu": "1", "memory": "1Mi"},
        },
        {"type": "Pod", "default": {"ephemeral-storage": "1"}},
    ]
    given = {"spec": {"containers": [{"resources": {"limits": {"cpu": "3"}}}], "initContainers": [{}]}}
    filled = with_defaults(given, [{"spec": {"limits": items}}])
    assert filled["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "3", "memory": "1Gi"},
        "requests": {"cpu": "3", "memory": "1Mi"},
    }
    assert filled["spec"]["initContainers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Mi"}
    assert given["spec"]["initContainers"] == [{}]


@pytest.mark.parametrize(
    ("number", "resource", "text"),
    [
        (Decimal(2 * 1024 * MI), "requests.memory", "2Gi"),
        (Decimal(1536 * MI), "requests.memory", "1536Mi"),
        (Decimal(1000), "requests.memory", "1000"),
        (Decimal(0), "requests.memory", "0"),
        (Decimal("3.2"), "limits.cpu", "3200m"),
        (Decimal("3.0"), "limits.cpu", "3"),
        (Decimal(2048), "pods", "2048"),
    ],
)
def test_numbers_are_told_shortly(number: Decimal, resource: str, text: str) -> None:
    assert format_quantity(number, resource) == text
