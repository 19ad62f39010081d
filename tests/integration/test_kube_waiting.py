# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, against an API server without controllers and nodes: what these would write down, the tests write."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from helpers.manifests import deployment, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, KubeError, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.ending import await_end
from ansible_collections.celeryops.platform.plugins.module_utils._kube.items import Item
from ansible_collections.celeryops.platform.plugins.module_utils._kube.resources import key_of
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for


class Waiting:
    """`wait_for` in a thread of its own, and what it has reported."""

    def __init__(self, executor: ThreadPoolExecutor, api: Api, objects: list[Json], timeout: float) -> None:
        self._lines: queue.Queue[str] = queue.Queue()
        keys = {key_of(obj) for obj in objects}
        self._future: Future[None] = executor.submit(
            wait_for, api, objects, timeout, keys, changed=keys, report=self._lines.put
        )

    def until(self, text: str) -> None:
        """Returns when a line with this text comes."""
        while text not in self._lines.get(timeout=60):
            pass

    def end(self) -> None:
        self._future.result(timeout=60)

    def error(self) -> KubeError:
        error = self._future.exception(timeout=60)
        assert isinstance(error, KubeError), error
        return error


@pytest.fixture
def waiting(api: Api) -> Iterator[Any]:
    with ThreadPoolExecutor() as executor:
        yield lambda *objects, timeout=60.0: Waiting(executor, api, list(objects), timeout)


def made(api: Api, kind: str, name: str, namespace: str | None, api_version: str = "v1", **parts: Any) -> Json:
    metadata: Json = {"name": name, **parts.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    return api.create({"apiVersion": api_version, "kind": kind, "metadata": metadata, **parts})


def with_status(api: Api, obj: Json, **status: Any) -> Json:
    return api.patch(ObjectRef.of(obj), {"status": status}, subresource="status")


def owner(obj: Json) -> dict[str, Any]:
    one = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": obj["metadata"]["name"]}
    return {"ownerReferences": [{**one, "uid": obj["metadata"]["uid"], "controller": True}]}


def worker(api: Api, namespace: str, replicas: int = 1) -> Json:
    wanted = deployment(namespace)
    wanted["spec"]["replicas"] = replicas
    return api.create(wanted)


def rolled(api: Api, obj: Json, pods: int) -> None:
    counts = {"replicas": pods, "updatedReplicas": pods, "readyReplicas": pods, "availableReplicas": pods}
    with_status(api, obj, observedGeneration=live(api, obj)["metadata"]["generation"], **counts)


def with_set(api: Api, obj: Json) -> Json:
    """The Deployment's ReplicaSet, as its controller would make it."""
    name, namespace, revision = (
        obj["metadata"]["name"],
        obj["metadata"]["namespace"],
        "deployment.kubernetes.io/revision",
    )
    api.patch(ObjectRef.of(obj), {"metadata": {"annotations": {revision: "1"}}})
    spec = {key: obj["spec"][key] for key in ("replicas", "selector", "template")}
    meta = {**owner(obj), "annotations": {revision: "1"}, "labels": obj["spec"]["template"]["metadata"]["labels"]}
    return made(api, "ReplicaSet", f"{name}-1", namespace, "apps/v1", metadata=meta, spec=spec)


def with_pod(api: Api, maker: Json, name: str, **status: Any) -> Json:
    namespace, template = maker["metadata"]["namespace"], maker["spec"]["template"]
    meta = {**owner(maker), "labels": template["metadata"]["labels"]}
    pod = made(api, "Pod", name, namespace, metadata=meta, spec=template["spec"])
    return with_status(api, pod, **status)


def event(api: Api, obj: Json, reason: str, message: str, kind: str = "Warning") -> None:
    meta, namespace = obj["metadata"], obj["metadata"]["namespace"]
    about = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"]}
    made(
        api,
        "Event",
        f"{meta['name']}.{reason.lower()}",
        namespace,
        involvedObject={**about, "namespace": namespace},
        reason=reason,
        message=message,
        type=kind,
    )


def held_back(reason: str, message: str, **more: Any) -> dict[str, Any]:
    container = {"name": "worker", "image": "x", "imageID": "", "ready": False, "restartCount": 0}
    return {"containerStatuses": [{**container, "state": {"waiting": {"reason": reason, "message": message}}, **more}]}


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"conditions": [condition]}


# What gets ready


def test_a_rollout_its_budget_and_its_service(api: Api, namespace: str, waiting: Any) -> None:
    """The pods are ready first; the endpoint and the count of healthy pods follow."""
    obj = worker(api, namespace, replicas=2)
    labels = obj["spec"]["template"]["metadata"]["labels"]
    service = made(api, "Service", "worker", namespace, spec={"selector": labels, "ports": [{"port": 80}]})
    elsewhere = made(
        api, "Service", "primary", namespace, spec={"selector": {**labels, "role": "x"}, "ports": [{"port": 80}]}
    )
    spec = {"minAvailable": 1, "selector": {"matchLabels": labels}}
    budget = made(api, "PodDisruptionBudget", "worker", namespace, "policy/v1", spec=spec)
    running = waiting(obj, service, elsewhere, budget)
    running.until("Service " + namespace + "/worker: no endpoint ready")
    running.until("Deployment " + namespace + "/worker: its controller has not seen it yet")
    rolled(api, obj, 2)
    running.until("2 of 2 pods are available")
    counts = {"currentHealthy": 0, "desiredHealthy": 1, "expectedPods": 2, "disruptionsAllowed": 0}
    with_status(api, budget, observedGeneration=1, **counts)
    running.until("0 of 1 pods are healthy")
    with_status(api, budget, **{**counts, "currentHealthy": 2, "disruptionsAllowed": 1})
    running.until("1 disruption allowed")
    endpoint = {"addresses": ["10.1.2.3"], "conditions": {"ready": False}}
    slices = made(
        api,
        "EndpointSlice",
        "worker-x",
        namespace,
        "discovery.k8s.io/v1",
        metadata={"labels": {"kubernetes.io/service-name": "worker"}},
        addressType="IPv4",
        endpoints=[endpoint],
    )
    api.patch(ObjectRef.of(slices), {"endpoints": [{**endpoint, "conditions": {"ready": True}}]})
    running.until("1 endpoint ready")
    running.end()


def test_what_is_done_needs_no_request_and_no_line(api: Api, namespace: str) -> None:
    obj = worker(api, namespace)
    rolled(api, obj, 1)
    lines: list[str] = []
    nobody = Api.__new__(Api)  # any request would raise
    wait_for(
        nobody,
        [live(api, obj), live(api, {**obj, "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})],
        5,
        report=lines.append,
    )
    assert lines == []


def test_a_restarted_container_has_to_stay(api: Api, namespace: str, waiting: Any) -> None:
    """It counts as ready again when it was not restarted for a while; until then a further end may still show."""
    obj = worker(api, namespace)
    maker = with_set(api, obj)
    pod = with_pod(api, maker, "worker-1-a", phase="Running")
    started = {
        "name": "worker",
        "image": "x",
        "imageID": "",
        "ready": True,
        "restartCount": 2,
        "state": {"running": {}},
    }
    with_status(api, pod, containerStatuses=[started])
    rolled(api, obj, 1)
    running = waiting(live(api, obj))
    running.until("1 of 1 pods are available")
    ended = {"lastState": {"terminated": {"exitCode": 7, "reason": "Error"}}, "restartCount": 3}
    with_status(api, pod, **held_back("CrashLoopBackOff", "back-off", **ended))
    rolled(api, obj, 0)
    error = running.error()
    assert "CrashLoopBackOff: it has ended 3 times, last with exit code 7 (Error)" in str(error)


def test_what_vanishes_is_an_error(api: Api, namespace: str, waiting: Any) -> None:
    obj = worker(api, namespace)
    running = waiting(obj)
    running.until("has not seen it yet")
    api.delete(ObjectRef.of(obj))
    assert "Deployment" in str(running.error())
    assert "vanished while it was waited for" in str(running.error())


# What is to go


def test_what_is_deleted_and_held(api: Api, namespace: str) -> None:
    """Whoever holds it lets go when the line about it comes. What goes at once has no line."""
    held = made(api, "ConfigMap", "held", namespace, metadata={"finalizers": ["example.invalid/keep"]})
    gone = made(api, "ConfigMap", "gone", namespace)
    items = [Item(obj, live=obj, action="deleted") for obj in (held, gone)]
    for obj in (held, gone):
        api.delete(ObjectRef.of(obj))
    lines: list[str] = []

    def let_go(line: str) -> None:
        lines.append(line)
        api.patch(ObjectRef.of(held), {"metadata": {"finalizers": None}})

    await_end(api, items, 60, let_go)
    assert lines == [f"ConfigMap {namespace}/held: being deleted, held by example.invalid/keep"]
    assert [item.after for item in items] == [None, None]


def test_what_stays_is_named(api: Api, namespace: str) -> None:
    held = made(api, "ConfigMap", "held", namespace, metadata={"finalizers": ["example.invalid/keep"]})
    api.delete(ObjectRef.of(held))
    with pytest.raises(KubeError, match=r"ConfigMap test-\w+/held: held by example.invalid/keep"):
        await_end(api, [Item(held, live=held, action="deleted")], 0.5, print)
    api.patch(ObjectRef.of(held), {"metadata": {"finalizers": None}})


# What does not


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (held_back("ImagePullBackOff", "Back-off pulling image: r/a:1: not found"), "ImagePullBackOff"),
        (held_back("ErrImageNeverPull", "not present"), "ErrImageNeverPull: not present"),
        (
            held_back("CrashLoopBackOff", "", restartCount=3, lastState={"terminated": {"exitCode": 1}}),
            "it has ended 3 times, last with exit code 1",
        ),
    ],
    ids=["image", "never", "crash"],
)
def test_pods_that_will_not_run(api: Api, namespace: str, waiting: Any, status: dict[str, Any], told: str) -> None:
    obj = worker(api, namespace)
    running = waiting(obj)
    pod = with_pod(api, with_set(api, obj), "worker-1-a", **status)
    event(api, pod, "Failed", "the kubelet's own words")
    error = running.error()
    assert f"Deployment {namespace}/worker does not become ready" in str(error)
    assert told in str(error)
    assert "Failed: the kubelet's own words" in error.details["events"]


def test_pods_that_are_refused(api: Api, namespace: str, waiting: Any) -> None:
    obj = worker(api, namespace)
    running = waiting(obj)
    event(api, with_set(api, obj), "FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted"')
    assert 'FailedCreate: pods "x" is forbidden: violates PodSecurity' in str(running.error())


@pytest.mark.slow
def test_trouble_that_may_pass_is_told_and_waited_for(api: Api, namespace: str, waiting: Any) -> None:
    """Everything that is only in the way for now, at once: each in its line, none of them an end before its time."""
    node = made(api, "Node", f"node-{namespace}", None)
    with_status(api, node, allocatable={"cpu": "2"}, capacity={"cpu": "2"})
    try:
        obj = worker(api, namespace, replicas=3)
        running = waiting(obj, timeout=12)
        maker = with_set(api, obj)
        full = with_pod(api, maker, "worker-1-a", **unschedulable("0/1 nodes are available: 1 Insufficient cpu."))
        running.until("(Pod worker-1-a: Unschedulable: 0/1 nodes are available: 1 Insufficient cpu.)")
        api.delete(ObjectRef.of(full), grace_seconds=0)
        attach = with_pod(api, maker, "worker-1-b", **held_back("ContainerCreating", ""))
        event(api, attach, "FailedAttachVolume", "Multi-Attach error")
        running.until("(Pod worker-1-b: FailedAttachVolume: Multi-Attach error)")
        error = running.error()
    finally:
        api.delete(ObjectRef.of(node))
    assert "not ready within 12 s" in str(error)
    assert "Multi-Attach error" in str(error)


def test_what_runs_and_is_not_ready(api: Api, namespace: str, waiting: Any) -> None:
    """Named when time is up, with the events about the present pods: not with those about ones before them."""
    obj = worker(api, namespace)
    running = waiting(obj, timeout=4)
    maker = with_set(api, obj)
    old = with_pod(api, maker, "worker-1-a")
    event(api, old, "Unhealthy", "from before")
    api.delete(ObjectRef.of(old), grace_seconds=0)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    container = {"name": "worker", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "started": False}
    present = with_pod(api, maker, "worker-1-b", containerStatuses=[{**container, "state": state}])
    event(api, present, "Unhealthy", "connection refused")
    said = str(running.error())
    assert "Pod worker-1-b, container worker: NotReady: it runs, but its startup probe has not succeeded" in said
    assert "events: Unhealthy: connection refused" in said
    assert "from before" not in said


def test_jobs_and_deployments_that_gave_up(api: Api, namespace: str, waiting: Any) -> None:
    template = deployment(namespace)["spec"]["template"]
    job = made(
        api,
        "Job",
        "migrate",
        namespace,
        "batch/v1",
        spec={"template": {"spec": {**template["spec"], "restartPolicy": "Never"}}},
    )
    running = waiting(job)
    moment = "2026-01-01T00:00:00Z"
    target = {"type": "FailureTarget", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}
    with_status(api, job, startTime=moment, conditions=[target, {**target, "type": "Failed"}])
    assert "BackoffLimitExceeded: too often" in str(running.error())
    obj = worker(api, namespace)
    running = waiting(obj)
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
    with_status(api, obj, observedGeneration=1, conditions=[late])
    assert "ProgressDeadlineExceeded: too slow" in str(running.error())
