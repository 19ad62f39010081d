# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for sets of objects on the full cluster, and stopping on what does not heal."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import SMALL
from helpers.modules import run_module
from helpers.plays import play

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = pytest.mark.cluster

SERVICE = "kubernetes.io/service-name"


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


def claim(name: str, place: str, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": place},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, **spec},
    }


def apply(*objects: Json, **options: Any) -> Json:
    args = {"definitions": list(objects), "kubeconfig": os.environ["KUBECONFIG"], "wait_timeout": 180, **options}
    return run_module("manifests", args)


@pytest.mark.slow
def test_everything_is_ready_when_it_returns(cluster: Api, place: str, shell_image: str) -> None:
    kinds = ("Deployment", "StatefulSet", "DaemonSet")
    objects = [workload(kind, kind.lower(), place, shell_image, "exec sleep 3600") for kind in kinds]
    objects += [job("job", place, shell_image, "true"), claim("later", place)]
    app = {"app": "deployment"}
    objects += [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "deployment", "namespace": place},
            "spec": {"selector": app, "ports": [{"port": 80}]},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": "deployment", "namespace": place},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": app}},
        },
    ]
    assert apply(*objects)["changed"]
    ready = {kind: cluster.get(ObjectRef.of(one)) or {} for kind, one in zip(kinds, objects, strict=False)}
    assert ready["Deployment"]["status"]["availableReplicas"] == 2
    assert ready["StatefulSet"]["status"]["readyReplicas"] == 2
    status = ready["DaemonSet"]["status"]
    assert status["numberAvailable"] == status["desiredNumberScheduled"] > 0
    assert (cluster.get(ObjectRef("batch/v1", "Job", "job", place)) or {})["status"]["succeeded"] == 1
    slices = cluster.list("discovery.k8s.io/v1", "EndpointSlice", place, label_selector=f"{SERVICE}=deployment")
    assert any(endpoint["conditions"]["ready"] for one in slices for endpoint in one["endpoints"])
    assert (cluster.get(ObjectRef.of(objects[-1])) or {})["status"]["disruptionsAllowed"] == 1
    again = apply(*objects)
    assert not again["changed"]
    assert again["progress"] == []

    # A rolling update is over when the pods of the earlier revision are gone.
    objects[0]["spec"]["template"]["spec"]["containers"][0]["command"][2] = "exec sleep 3601"
    assert apply(*objects)["changed"]
    pods = cluster.list("v1", "Pod", place, label_selector="app=deployment")
    commands = {
        one["spec"]["containers"][0]["command"][2] for one in pods if not one["metadata"].get("deletionTimestamp")
    }
    assert commands == {"exec sleep 3601"}


@pytest.mark.slow
def test_it_stops_on_what_does_not_heal(place: str, shell_image: str) -> None:
    """Side by side: most of the time each of them only waits."""

    def one(name: str, script: str = "exec sleep 3600", **pod: Any) -> Json:
        return workload("Deployment", name, place, shell_image, script, **pod)

    absent = {"image": "localhost/celeryops/absent:1", "imagePullPolicy": "Never"}
    refused = {"image": "Not/A/Reference", "imagePullPolicy": "Always"}
    huge = {"limits": {"cpu": "1000"}, "requests": {"cpu": "1000"}}
    never = {"exec": {"command": ["false"]}}
    secret = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "nobody", "key": "x"}}}
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    volumes = [{"name": "v", "secret": {"secretName": "nobody"}}]
    failing = (
        (one("image", container=absent), "image", ["ErrImageNeverPull"]),
        (one("refused", container=refused), "refused", ["InvalidImageName"]),
        (
            one("crash", "echo last words; exit 7", container={"readinessProbe": never}),
            "crash",
            ["CrashLoopBackOff", "exit code 7", "last words"],
        ),
        (one("huge", container={"resources": huge}), "huge", ["Unschedulable", "Insufficient cpu"]),
        (
            one("astray", nodeSelector={"nobody": "here"}),
            "astray",
            ["Unschedulable", "didn't match Pod's node affinity"],
        ),
        (
            one("secret", container={"env": [secret]}),
            "secret",
            ["CreateContainerConfigError", 'secret "nobody" not found'],
        ),
        (one("mount", container=mount, volumes=volumes), "mount", ["FailedMount", 'secret "nobody" not found']),
        (job("failing", place, shell_image, "exit 4"), "failing", ["BackoffLimitExceeded"]),
        (claim("unbound", place, storageClassName="nobody"), "unbound", ["ProvisioningFailed", '"nobody" not found']),
    )
    with ThreadPoolExecutor(max_workers=3) as executor:
        results = list(executor.map(lambda case: apply(case[0]), failing))
    for (_obj, name, told), result in zip(failing, results, strict=True):
        assert result["failed"], name
        assert f"/{name} does not become ready" in result["msg"]
        for text in told:
            assert text in result["msg"]
        assert result["error"]["events"], name
        assert result["objects"][0]["action"] == "created"
        assert result["progress"], name


@pytest.mark.slow
def test_pods_that_a_quota_stops_later(cluster: Api, place: str, shell_image: str) -> None:
    """One pod fits, as the dry run says; another is refused by an event and nothing else."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": place},
        "spec": {"hard": {"requests.ephemeral-storage": "15Mi"}},
    }
    storage = {"requests": {"ephemeral-storage": "10Mi"}, "limits": {"ephemeral-storage": "10Mi"}}
    everywhere = [{"operator": "Exists"}]
    daemon = workload(
        *("DaemonSet", "quota", place, shell_image, "exec sleep 3600"),
        container={"resources": storage},
        tolerations=everywhere,
    )
    assert len(cluster.list("v1", "Node")) > 1
    assert apply(quota)["changed"]
    for _event, found in cluster.watch("v1", "ResourceQuota", place, timeout=30):
        if (found.get("status") or {}).get("hard"):
            break
    try:
        result = apply(daemon)
    finally:
        apply(quota, state="absent")
        apply(daemon, state="absent")
    assert result["failed"]
    assert "FailedCreate" in result["msg"]
    assert "exceeded quota" in result["msg"]


def test_it_tells_what_is_missing_when_time_is_up(place: str, shell_image: str) -> None:
    never = {"readinessProbe": {"exec": {"command": ["false"]}}}
    script = "echo waiting for nobody; exec sleep 3600"
    obj = workload("Deployment", "unready", place, shell_image, script, container=never)
    result = apply(obj, wait_timeout=8)
    assert result["failed"]
    assert "not ready within 8 s" in result["msg"]
    assert "0 of 2 pods are available" in result["msg"]
    assert "NotReady: it runs, but its readiness probe does not succeed" in result["msg"]
    assert "last log lines: waiting for nobody" in result["msg"]


@pytest.mark.slow
def test_a_line_is_shown_before_the_task_ends(cluster: Api, place: str, shell_image: str, tmp_path: Path) -> None:
    """The pod gets ready only when the line about it has been read."""
    script = "until [ -e /tmp/go ]; do sleep 0.1; done; exec sleep 3600"
    ready = {"readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/go"]}, "periodSeconds": 1}}  # noqa: S108
    obj = workload("Deployment", "later", place, shell_image, script, container=ready)
    obj["spec"]["replicas"] = 1
    task = {"celeryops.platform.manifests": {"definitions": [obj]}, "register": "applied"}
    with play(tmp_path, [task], defaults={"kubeconfig": os.environ["KUBECONFIG"]}) as running:
        for line in running.lines():
            if line.endswith("0 of 1 pods are available"):
                exec_in_pod(cluster, place, running_pod(cluster, place, "later"), ["touch", "/tmp/go"], timeout=30)  # noqa: S108
    running.process.wait()
    assert running.process.returncode == 0, "\n".join(running.output)
    shown = running.progress()
    assert shown == running.results["applied"]["progress"]
    states = [line.partition(": ")[2] for line in shown]
    assert states[-2:] == ["0 of 1 pods are available", "1 of 1 pods are available"]


def running_pod(cluster: Api, place: str, app: str) -> str:
    for _event, pod in cluster.watch("v1", "Pod", place, label_selector=f"app={app}", timeout=60):
        if (pod.get("status") or {}).get("phase") == "Running":
            return str(pod["metadata"]["name"])
    raise AssertionError(f"no pod of {app} runs")
