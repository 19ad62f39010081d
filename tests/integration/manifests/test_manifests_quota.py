# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What policies would refuse of a workload's pods, all of its replicas counted, is known before it is applied."""

from __future__ import annotations

from typing import Any

import pytest
from helpers.manifests import actions, apply, config_map, deployment, every_kind, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)


@pytest.fixture
def worker(namespace: str) -> Json:
    """Three replicas and one of surge, each with 512Mi and 400m requested, 1Gi and 800m at most."""
    return deployment(namespace)


def set_quota(api: Api, namespace: str, hard: Json, used: Json | None = None, **spec: Any) -> None:
    """A quota and what its controller would have counted."""
    quota: Json = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": namespace},
        "spec": {"hard": hard, **spec},
    }
    api.apply(quota, field_manager="test", force=True)
    status = {"hard": hard, "used": dict.fromkeys(hard, "0") | (used or {})}
    api.patch(ObjectRef.of(quota), {"status": status}, subresource="status")


def run_pods(api: Api, workload: Json, count: int) -> None:
    """Pods as the workload's controller would have made them."""
    template = live(api, workload)["spec"]["template"]
    for number in range(count):
        metadata = {**template["metadata"], "name": f"pod-{number}", "namespace": workload["metadata"]["namespace"]}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})


def refused(run: Any, *objects: Json) -> Json:
    for check in (True, False):
        result = apply(run, *objects, check=check)
        assert result["failed"], result
    return result


def test_replicas_and_surge_are_counted(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    set_quota(api, namespace, {"requests.memory": "2047Mi", "pods": "10"})
    result = refused(kube_module, worker)
    assert "would exceed quota quota: requests.memory: 2Gi more needed, 2047Mi left" in result["msg"]
    assert "for 3 replicas and 1 more while it rolls" in result["msg"]
    assert result["error"]["quota"] == {
        "name": "quota",
        "resource": "requests.memory",
        "needed": "2Gi",
        "left": "2047Mi",
        "hard": "2047Mi",
    }
    assert api.get(ObjectRef.of(worker)) is None
    set_quota(api, namespace, {"requests.memory": "2Gi", "pods": "10"})
    assert [apply(kube_module, worker, check=check)["changed"] for check in CYCLE] == [True, True, False, False]


def test_what_is_used_already_is_not_left(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    set_quota(api, namespace, {"limits.cpu": "4"}, {"limits.cpu": "1"})
    assert "limits.cpu: 3200m more needed, 3 left" in refused(kube_module, worker)["msg"]


def test_two_workloads_of_a_set_share_what_is_left(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    other = deployment(namespace)
    other["metadata"]["name"] = "other"
    set_quota(api, namespace, {"pods": "7"})
    result = apply(kube_module, worker, other)
    assert "Deployment" in result["msg"]
    assert "pods: 4 more needed, 3 left" in result["msg"]
    assert [one["action"] for one in result["objects"]] == ["created", "failed"]


def test_its_own_pods_make_room(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    worker["spec"]["strategy"] = {"type": "Recreate"}
    apply(kube_module, worker)
    run_pods(api, worker, 3)
    # Nothing is left, and the server would refuse a fourth pod; but the new ones come when the old have gone.
    set_quota(api, namespace, {"pods": "3", "requests.memory": "1536Mi"}, {"pods": "3", "requests.memory": "1536Mi"})
    worker["spec"]["template"]["metadata"]["labels"]["version"] = "2"
    assert [apply(kube_module, worker, check=check)["changed"] for check in CYCLE] == [True, True, False, False]
    worker["spec"]["replicas"] = 4
    assert "pods: 1 more needed, 0 left" in refused(kube_module, worker)["msg"]
    worker["spec"]["replicas"] = 3
    worker["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": "25%"}}
    worker["spec"]["template"]["metadata"]["labels"]["version"] = "3"
    assert "pods: 1 more needed, 0 left" in refused(kube_module, worker)["msg"]


def test_defaults_of_a_limit_range_count(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    limits = [{"type": "Container", "default": {"memory": "1Gi"}, "defaultRequest": {"memory": "600Mi"}}]
    apply(
        kube_module,
        config_map(namespace),
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "limits", "namespace": namespace},
            "spec": {"limits": limits},
        },
    )
    for container in worker["spec"]["template"]["spec"]["containers"]:
        del container["resources"]
    set_quota(api, namespace, {"requests.memory": "2Gi"})
    assert "requests.memory: 2400Mi more needed, 2Gi left" in refused(kube_module, worker)["msg"]
    # Also where the server refuses the pod as such, because the present ones have used the quota up.
    set_quota(api, namespace, {"requests.memory": "10Gi"})
    apply(kube_module, worker)
    run_pods(api, worker, 3)
    set_quota(api, namespace, {"requests.memory": "1800Mi"}, {"requests.memory": "1800Mi"})
    worker["spec"]["template"]["metadata"]["labels"]["version"] = "2"
    assert "requests.memory: 600Mi more needed, 0 left" in refused(kube_module, worker)["msg"]


@pytest.mark.parametrize(
    ("scopes", "counts"),
    [
        (["NotBestEffort"], True),
        (["BestEffort"], False),
        (["NotTerminating"], True),
        (["Terminating"], False),
    ],
)
def test_quotas_count_what_is_in_their_scope(
    api: Api, namespace: str, worker: Json, kube_module: Any, scopes: list[str], counts: bool
) -> None:
    set_quota(api, namespace, {"pods": "3"}, scopes=scopes)
    assert bool(apply(kube_module, worker).get("failed")) == counts


def test_quotas_by_priority(api: Api, namespace: str, worker: Json, kube_module: Any) -> None:
    name = f"high-{namespace}"
    priority = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 5}
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": [name]}]}
    set_quota(api, namespace, {"pods": "3"}, scopeSelector=selector)
    worker["spec"]["template"]["spec"]["priorityClassName"] = name
    result = refused(kube_module, worker)
    assert f"no PriorityClass with name {name} was found" in result["msg"]
    assert "pods: 4 more needed, 3 left" in apply(kube_module, priority, worker)["msg"]
    del worker["spec"]["template"]["spec"]["priorityClassName"]
    assert apply(kube_module, worker)["changed"]
    api.delete(ObjectRef("scheduling.k8s.io/v1", "PriorityClass", name))


def test_claims_of_a_stateful_set_count(api: Api, namespace: str, kube_module: Any) -> None:
    redis = next(obj for obj in every_kind(namespace) if obj["kind"] == "StatefulSet")
    set_quota(api, namespace, {"requests.storage": "2Gi", "persistentvolumeclaims": "5"})
    assert "requests.storage: 3Gi more needed, 2Gi left" in refused(kube_module, redis)["msg"]
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **redis["spec"]["volumeClaimTemplates"][0]}
    claim["metadata"] = {"name": "data-redis-0", "namespace": namespace}
    set_quota(api, namespace, {"requests.storage": "3Gi"})
    api.create(claim)
    set_quota(api, namespace, {"requests.storage": "3Gi"}, {"requests.storage": "1Gi"})
    assert apply(kube_module, redis)["changed"]


def test_pods_of_a_job_count(api: Api, namespace: str, kube_module: Any) -> None:
    job = next(obj for obj in every_kind(namespace) if obj["kind"] == "Job")
    job["spec"] |= {"parallelism": 4, "completions": 3}
    set_quota(api, namespace, {"pods": "2"})
    assert "pods: 3 more needed, 2 left" in refused(kube_module, job)["msg"]


def test_nothing_is_asked_when_the_pods_stay_as_they_are(
    api: Api, namespace: str, worker: Json, kube_module: Any
) -> None:
    apply(kube_module, worker)
    # Pods of this template would be refused now, but there will be no new ones.
    set_quota(api, namespace, {"pods": "0"})
    worker["metadata"]["labels"]["more"] = "x"
    assert actions(apply(kube_module, worker)) == {"Deployment worker": "configured"}
