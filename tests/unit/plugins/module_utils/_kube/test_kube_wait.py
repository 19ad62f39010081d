# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects are done, and what keeps them from it for how long: data in data/{wait,pods,scheduling}.json."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.feeding import feeders
from ansible_collections.celeryops.platform.plugins.module_utils._kube.pods import (
    Trouble,
    budget_trouble,
    claim_trouble,
    creation_trouble,
    mount_trouble,
    scheduling_trouble,
    trouble_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.wait import (
    budget_progress,
    progress_of,
    service_progress,
    waits_for,
)

DATA = Path(__file__).parent / "data"
API = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
}
SECONDS = {"never": math.inf}


def cases(name: str) -> list[Any]:
    loaded = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["case"]) for case in loaded]


@pytest.mark.parametrize("case", cases("wait.json"))
def test_progress(case: dict[str, Any]) -> None:
    obj = {
        "apiVersion": API.get(case["kind"], "v1"),
        "kind": case["kind"],
        "metadata": {"name": "x", "generation": case.get("generation", 1)},
        "spec": case.get("spec", {}),
        "status": case.get("status", {}),
    }
    progress = budget_progress(obj, fed=True) if case.get("fed") else progress_of(obj)
    state = "done" if progress.done else "failed" if progress.failed else "busy"
    assert (state, progress.message) == (case["state"], case["message"])
    assert waits_for(obj) == (case["kind"] != "ConfigMap")


@pytest.mark.parametrize("case", cases("pods.json"))
def test_trouble(case: dict[str, Any]) -> None:
    trouble = trouble_of({"metadata": {"name": "web-0"}, "status": case["status"]})
    found = None if trouble is None else [trouble.reason, trouble.patience, trouble.container, trouble.previous]
    expected = case["trouble"]
    if expected is not None:
        expected = [expected[0], SECONDS.get(expected[1], expected[1]), *expected[2:]]
    assert found == expected
    if trouble is not None:
        assert case["told"] in str(trouble)
        assert trouble.lasting == (trouble.patience == 0)
        assert not trouble.passing(20).lasting


@pytest.mark.parametrize("case", cases("scheduling.json"))
def test_scheduling(case: dict[str, Any]) -> None:
    pod = {
        "metadata": {"name": "web-0"},
        "spec": {
            "initContainers": [{"resources": {"requests": case.get("requests", {})}}],
            "containers": [{"resources": {"requests": {"cpu": "1"}}}, {}],
        },
        "status": {"conditions": [{"type": "PodScheduled", "reason": "Unschedulable", "message": case["message"]}]},
    }
    taints = [{"key": key} for key in case.get("taints", [])]
    nodes = [
        {"spec": {"taints": taints}, "status": {"allocatable": {"cpu": "3900m", "memory": "7Gi"}}},
        {"status": {"allocatable": {"cpu": "2", "memory": "16Gi"}}},
    ]
    trouble = trouble_of(pod)
    assert trouble is not None
    assert scheduling_trouble(trouble, pod, nodes).patience == SECONDS.get(case["patience"], case["patience"])


def test_scheduling_is_not_judged_without_seeing_nodes() -> None:
    trouble = Trouble("Pod web-0", "Unschedulable", "0/2 nodes are available: 2 Insufficient cpu.", math.inf)
    pod = {"spec": {"containers": [{"resources": {"requests": {"cpu": "1000"}}}]}}
    assert scheduling_trouble(trouble, pod, []) == trouble


@pytest.mark.parametrize(
    ("message", "patience"),
    [
        ('Error creating: pods "x-1" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot', 0),
        ('Error creating: pods "x-1" is forbidden: [maximum cpu usage per Container is 1, but limit is 2]', 0),
        ('Error creating: pods "x-1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=4', 20),
        ("Error creating: Internal error occurred: failed calling webhook: connection refused", 60),
        ("Error creating: etcdserver: request timed out", 20),
    ],
)
def test_refused_pods(message: str, patience: float) -> None:
    trouble = creation_trouble({"kind": "ReplicaSet", "metadata": {"name": "x"}}, message)
    assert (trouble.patience, str(trouble)) == (patience, f"ReplicaSet x: FailedCreate: {message}")


@pytest.mark.parametrize(
    ("reason", "message", "patience"),
    [
        ("FailedMount", 'MountVolume.SetUp failed for volume "v" : secret "nobody" not found', 20),
        ("FailedAttachVolume", "Multi-Attach error for volume: Volume is already used by pod(s) y", math.inf),
    ],
)
def test_volumes_of_pods(reason: str, message: str, patience: float) -> None:
    assert mount_trouble({"metadata": {"name": "web-0"}}, reason, message).patience == patience


@pytest.mark.parametrize(
    ("reason", "message", "patience"),
    [
        ("FailedBinding", "no persistent volumes available for this claim and no storage class is set", 20),
        ("ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found', 20),
        ("ProvisioningFailed", "rpc error: code = ResourceExhausted desc = out of space", 60),
        ("WaitForFirstConsumer", "waiting for first consumer to be created before binding", None),
    ],
)
def test_claims(reason: str, message: str, patience: float | None) -> None:
    trouble = claim_trouble({"metadata": {"name": "data"}}, reason, message)
    assert (trouble.patience if trouble else None) == patience


def test_budgets() -> None:
    condition = {"type": "DisruptionAllowed", "reason": "SyncFailed", "message": "found no controllers"}
    budget = {"metadata": {"name": "web"}, "status": {"conditions": [condition]}}
    trouble = budget_trouble(budget)
    assert trouble == Trouble("PodDisruptionBudget web", "SyncFailed", "found no controllers", 20)
    assert budget_trouble({**budget, "status": {"conditions": [{**condition, "reason": "SufficientPods"}]}}) is None


@pytest.mark.parametrize(
    ("slices", "done", "message"),
    [
        ([], False, "no endpoint ready"),
        ([{"endpoints": None}, {"endpoints": [{"conditions": {"ready": False}}]}], False, "no endpoint ready"),
        (
            [{"endpoints": [{"conditions": {"ready": True}}, {"addresses": ["10.0.0.1"]}]}],
            True,
            "2 endpoints ready",
        ),
    ],
)
def test_services(slices: list[dict[str, Any]], done: bool, message: str) -> None:
    progress = service_progress(slices)
    assert (progress.done, progress.failed, progress.message) == (done, False, message)


def of_set(kind: str, name: str, spec: dict[str, Any], namespace: str = "shop") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": metadata, "spec": spec}


def test_whose_pods_are_behind_what() -> None:
    template = {"template": {"metadata": {"labels": {"app": "worker", "queue": "mail"}}}}
    by_app = {"selector": {"app": "worker"}}
    found = feeders(
        [
            of_set("Deployment", "worker", template),
            of_set("StatefulSet", "none", {"replicas": 0, "template": {"metadata": {"labels": {"app": "none"}}}}),
            of_set("Service", "worker", by_app),
            of_set("Service", "elsewhere", by_app, namespace="other"),
            of_set("Service", "primary", {"selector": {"app": "worker", "role": "primary"}}),
            of_set("Service", "manual", {}),
            of_set("Service", "alias", {"type": "ExternalName", **by_app}),
            of_set("Service", "none", {"selector": {"app": "none"}}),
            of_set("PodDisruptionBudget", "worker", {"selector": {"matchLabels": {"queue": "mail"}}}),
            of_set(
                "PodDisruptionBudget",
                "complex",
                {"selector": {"matchLabels": {"app": "worker"}, "matchExpressions": [{}]}},
            ),
            of_set("PodDisruptionBudget", "all", {"selector": {}}),
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
        ]
    )
    names = {
        f"{key.kind} {key.name}": {f"{one.kind} {one.name}" for one in workloads} for key, workloads in found.items()
    }
    assert names == {"Service worker": {"Deployment worker"}, "PodDisruptionBudget worker": {"Deployment worker"}}
