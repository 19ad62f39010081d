# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for sets of objects on the full cluster, and stopping on what does not heal."""

from __future__ import annotations

import os
from typing import Any

import pytest
from helpers.manifests import SMALL
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

pytestmark = pytest.mark.cluster


def workload(kind: str, name: str, place: str, image: str, script: str, **pod: Any) -> Json:
    container = {"name": "c", "image": image, "command": ["sh", "-c", script], "resources": SMALL}
    container |= pod.pop("container", {})
    spec: Json = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container], **pod},
        },
    }
    if kind == "StatefulSet":
        spec["serviceName"] = name
    if kind != "DaemonSet":
        spec["replicas"] = 2
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": place}, "spec": spec}


def job(name: str, place: str, image: str, script: str) -> Json:
    container = {"name": "c", "image": image, "command": ["sh", "-c", script], "resources": SMALL}
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": place}, "spec": spec}


def claim(name: str, place: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": place},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
    }


def apply(*objects: Json, **options: Any) -> Json:
    args = {"definitions": list(objects), "kubeconfig": os.environ["KUBECONFIG"], "wait_timeout": 180, **options}
    return run_module("manifests", args)


def test_everything_is_ready_when_it_returns(cluster: Api, place: str, shell_image: str) -> None:
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    objects = [workload(kind, kind.lower(), place, shell_image, "exec sleep 3600") for kind in kinds]
    objects += [job("job", place, shell_image, "true"), claim("later", place)]
    assert apply(*objects)["changed"]
    ready = {kind: cluster.get(ObjectRef.of(one)) or {} for kind, one in zip(kinds, objects, strict=False)}
    assert ready["Deployment"]["status"]["availableReplicas"] == 2
    assert ready["StatefulSet"]["status"]["readyReplicas"] == 2
    status = ready["DaemonSet"]["status"]
    assert status["numberAvailable"] == status["desiredNumberScheduled"] > 0
    assert (cluster.get(ObjectRef("batch/v1", "Job", "job", place)) or {})["status"]["succeeded"] == 1
    again = apply(*objects)
    assert not again["changed"]

    # A rolling update is over when the pods of the earlier revision are gone.
    objects[0]["spec"]["template"]["spec"]["containers"][0]["command"][2] = "exec sleep 3601"
    assert apply(*objects)["changed"]
    pods = cluster.list("v1", "Pod", place, label_selector="app=deployment")
    commands = {
        one["spec"]["containers"][0]["command"][2] for one in pods if not one["metadata"].get("deletionTimestamp")
    }
    assert commands == {"exec sleep 3601"}


def test_it_stops_on_what_does_not_heal(place: str, shell_image: str) -> None:
    def one(name: str, script: str = "exec sleep 3600", **pod: Any) -> Json:
        return workload("Deployment", name, place, shell_image, script, **pod)

    absent = {"image": "localhost/celeryops/absent:1", "imagePullPolicy": "Never"}
    huge = {"limits": {"cpu": "1000"}, "requests": {"cpu": "1000"}}
    never = {"exec": {"command": ["false"]}}
    secret = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "x"}}}
    for obj, told in (
        (one("image", container=absent), ["ErrImageNeverPull"]),
        (
            one("crash", "echo last words; exit 7", container={"readinessProbe": never}),
            ["CrashLoopBackOff", "exit code 7", "last words"],
        ),
        (one("huge", container={"resources": huge}), ["Unschedulable", "Insufficient cpu"]),
        (one("secret", container={"env": [secret]}), ["CreateContainerConfigError", 'secret "nobody" not found']),
        (job("failing", place, shell_image, "exit 4"), ["BackoffLimitExceeded"]),
    ):
        result = apply(obj)
        assert result["failed"], obj["metadata"]["name"]
        assert "does not become ready" in result["msg"]
        for text in told:
            assert text in result["msg"]
        assert result["error"]["events"]
        assert result["objects"][0]["action"] == "created"


def test_pods_that_a_quota_stops_later(cluster: Api, place: str, shell_image: str) -> None:
    """One pod fits, as the dry run says; the second is refused by an event and nothing else."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": place},
        "spec": {"hard": {"requests.ephemeral-storage": "15Mi"}},
    }
    storage = {"requests": {"ephemeral-storage": "10Mi"}, "limits": {"ephemeral-storage": "10Mi"}}
    container = {"resources": storage}
    stateful = workload("StatefulSet", "quota", place, shell_image, "exec sleep 3600", container=container)
    assert apply(quota)["changed"]
    for _event, found in cluster.watch("v1", "ResourceQuota", place, timeout=30):
        if (found.get("status") or {}).get("hard"):
            break
    try:
        result = apply(stateful)
    finally:
        apply(quota, state="absent")
    assert result["failed"]
    assert "FailedCreate" in result["msg"]
    assert "exceeded quota" in result["msg"]


def test_it_tells_what_is_missing_when_time_is_up(place: str, shell_image: str) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volumes = [{"name": "v", "secret": {"secretName": "nobody"}}]
    obj = workload("Deployment", "mount", place, shell_image, "true", container=mount, volumes=volumes)
    result = apply(obj, wait_timeout=5)
    assert result["failed"]
    assert "not ready within 5 s" in result["msg"]
    assert 'secret "nobody" not found' in result["msg"]
