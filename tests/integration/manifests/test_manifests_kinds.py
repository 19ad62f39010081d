# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind that roles use, from its making to its removal: check, apply, check, apply at each step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from helpers.manifests import apply, every_kind

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)

_CLUSTER_WIDE = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
value: 1000
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
provisioner: example.com/local-path
volumeBindingMode: WaitForFirstConsumer
reclaimPolicy: Delete
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
rules: [{apiGroups: [""], resources: [nodes], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
roleRef: {kind: ClusterRole, name: view}
subjects: [{kind: Group, name: developers}]
---
apiVersion: v1
kind: PersistentVolume
spec: {capacity: {storage: 1024Mi}, accessModes: [ReadWriteOnce], hostPath: {path: /srv}, storageClassName: manual}
---
apiVersion: v1
kind: Namespace
"""
LABEL = {"metadata": {"labels": {"changed": "yes"}}}
IMAGE = {"spec": {"containers": [{"image": "example.invalid/app:2"}]}}
# What changes of a kind, merged into its object.
CHANGES: dict[str, Json] = {
    "ClusterRole": {"rules": [{"verbs": ["get"]}]},
    "ClusterRoleBinding": {"subjects": [{"name": "operators"}]},
    "ConfigMap": {"data": {"REDIS_HOST": "redis-master"}},
    "CronJob": {"spec": {"schedule": "0 3 * * *"}},
    "DaemonSet": {"spec": {"template": IMAGE}},
    "Deployment": {"spec": {"template": IMAGE}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 6}},
    "Job": LABEL,
    "LimitRange": {"spec": {"limits": [{"maxLimitRequestRatio": {"cpu": 3}}]}},
    "Namespace": LABEL,
    "NetworkPolicy": {"spec": {"ingress": [{"ports": [{"port": 8001}]}]}},
    "PersistentVolume": {"spec": {"persistentVolumeReclaimPolicy": "Delete"}},
    "PersistentVolumeClaim": LABEL,
    "PodDisruptionBudget": {"spec": {"minAvailable": "50%"}},
    "PriorityClass": {"description": "for workers"},
    "ResourceQuota": {"spec": {"hard": {"pods": 101}}},
    "Role": {"rules": [{"verbs": ["list"]}]},
    "RoleBinding": {"subjects": [{"name": "another"}]},
    "Secret": {"stringData": {"password": "battery staple"}},
    "Service": {"spec": {"ports": [{"targetPort": 8001}]}},
    "ServiceAccount": LABEL,
    "StatefulSet": {"spec": {"template": IMAGE}},
    "StorageClass": {"allowVolumeExpansion": True},
}


@pytest.fixture
def objects(namespace: str) -> list[Json]:
    """One of each."""
    found = every_kind(namespace)
    for obj in yaml.safe_load_all(_CLUSTER_WIDE):
        found.append({**obj, "metadata": {"name": f"{namespace}-wide"}})
    return found


def merged(value: Any, change: Any) -> Any:
    if isinstance(change, dict):
        base = value if isinstance(value, dict) else {}
        return {**base, **{key: merged(base.get(key), inner) for key, inner in change.items()}}
    if isinstance(change, list) and isinstance(value, list) and value and isinstance(change[0], dict):
        return [merged(value[0], change[0]), *value[1:]]
    return change


def test_each_is_made_changed_and_removed(api: Api, objects: list[Json], kube_module: Any) -> None:
    kinds = sorted(obj["kind"] for obj in objects)
    assert kinds == sorted(CHANGES), "each kind has a change"

    def cycle(wanted: list[Json], **options: Any) -> list[list[str]]:
        results = [apply(kube_module, *copy.deepcopy(wanted), check=check, **options) for check in CYCLE]
        assert not any(result.get("failed") for result in results), [result.get("msg") for result in results]
        assert [result["changed"] for result in results] == [True, True, False, False]
        for result in results:
            assert sorted(entry["kind"] for entry in result["objects"]) == kinds
        actions = [{entry["action"] for entry in result["objects"]} for result in results]
        return [sorted(one) for one in actions]

    assert cycle(objects) == [["created"], ["created"], ["unchanged"], ["unchanged"]]
    changed = [merged(obj, CHANGES[obj["kind"]]) for obj in objects]
    assert cycle(changed) == [["configured"], ["configured"], ["unchanged"], ["unchanged"]]
    # And back again, which for some fields is to leave them out.
    assert cycle(objects) == [["configured"], ["configured"], ["unchanged"], ["unchanged"]]
    assert cycle(objects, state="absent") == [["deleted"], ["deleted"], ["absent"], ["absent"]]
    left = [api.get(ObjectRef.of(obj)) for obj in objects]
    # Some wait for controllers, which do not run here.
    assert all("deletionTimestamp" in obj["metadata"] for obj in left if obj)
