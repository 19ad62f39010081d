# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pool under a real autoscaler with real metrics: its bounds hold, and scaling in ends no running task."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.modules import run_module
from quotes_place import PYTHON, Place, opened

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import is_ready
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

SCALED = "celery-worker-desk"
# Seconds for what an autoscaler decides: metrics are read and looked at every 15 s each.
DEADLINE = 300
# Occupies a core for as long as the pod's limit lets it.
BURN = "import time; end = time.time() + 120\nwhile time.time() < end: pass"
# Sends tasks, tells who runs each of them once all do, and then when and where each ended.
SEND = """
import json, time
from quotes.app import app
from quotes import tasks
sent = [tasks.edit.delay(%d) for _ in range(%d)]
ids = {result.id for result in sent}
while True:
    active = app.control.inspect(timeout=3).active() or {}
    found = {each["id"]: name for name, those in active.items() for each in those if each["id"] in ids}
    if set(found) == ids:
        break
print("RUNNING " + json.dumps(found), flush=True)
ended = {}
while len(ended) < len(ids):
    for result in sent:
        if result.id not in ended and result.ready():
            ended[result.id] = [result.get()["worker"], time.time()]
    time.sleep(0.5)
print("ENDED " + json.dumps(ended), flush=True)
"""


def pools(**autoscale: int) -> list[dict[str, Any]]:
    """The pool that is scaled, and one that stays as it is."""
    resources = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "200m", "memory": "256Mi"}}
    fast = {"scale_down_stabilization": 0, "scale_down_pods": 4, "scale_down_period": 15, "cpu": 120}
    return [
        {"name": "default", "queues": ["press", "post", "feeds", "hooks"]},
        {
            "name": "desk",
            "queues": ["desk"],
            "replicas": 2,
            "resources": resources,
            # Longer than the tasks of these tests, shorter than the application's visibility timeout
            "grace_period": 200,
            "settings": {"worker_soft_shutdown_timeout": 180},
            **({"autoscale": {**fast, **autoscale}} if autoscale else {}),
        },
    ]


def play(place: Place, **autoscale: int) -> str:
    given = place.folder / "vars.json"
    given.write_text(json.dumps({"celery_worker_pools": pools(**autoscale)}))
    return place.play(f"--extra-vars=@{given}")


def names(place: Place, pool: str, wanted: Callable[[Json], object] = lambda _pod: True) -> set[str]:
    return {
        pod["metadata"]["name"] for pod in place.pods() if pod["metadata"]["labels"]["pool"] == pool and wanted(pod)
    }


def replicas(place: Place) -> int:
    found = place.cluster.get(ObjectRef("apps/v1", "Deployment", SCALED, place.namespace))
    assert found is not None
    return int(found["spec"]["replicas"])


def eventually(what: str, ready: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        assert time.monotonic() < end, what
        time.sleep(1)


@contextmanager
def every_value(place: Place) -> Iterator[list[int]]:
    """Collects every number of replicas that the pool has, from before the block to its end."""
    seen = [replicas(place)]
    path = f"/apis/apps/v1/namespaces/{place.namespace}/deployments"
    start = str(place.cluster.request("GET", path)["metadata"]["resourceVersion"])
    yield seen
    ref = ObjectRef("apps/v1", "Deployment", SCALED, place.namespace)
    last = place.cluster.patch(ref, {"metadata": {"annotations": {"end": start}}})["metadata"]["resourceVersion"]
    options = {"field_selector": f"metadata.name={SCALED}", "resource_version": start, "timeout": 30}
    for _type, found in place.cluster.watch("apps/v1", "Deployment", place.namespace, **options):
        seen.append(found["spec"]["replicas"])
        if found["metadata"]["resourceVersion"] == last:
            break


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(cluster, "scale", tmp_path_factory.mktemp("scale")) as found:
        yield found


def run_in(place: Place, pod: str, code: str, timeout: float) -> str:
    done = exec_in_pod(place.cluster, place.namespace, pod, [PYTHON, "-c", code], container="worker", timeout=timeout)
    assert done.rc in (0, 137), done.stderr[-2000:]
    return done.stdout


def test_the_metrics_api_answers_for_every_node(cluster: Api) -> None:
    """It is told by kubelets that proved who they are."""
    result = run_module("metrics_api_info", {})
    assert (result["registered"], result["problem"]) == (True, "")
    eventually("figures of every node", lambda: nodes_with_figures(cluster) == {*all_nodes(cluster)})
    if result["ours"]:
        server = cluster.get(ObjectRef("apps/v1", "Deployment", "metrics-server", "kube-system"))
        assert server is not None
        args = server["spec"]["template"]["spec"]["containers"][0]["args"]
        assert "--kubelet-insecure-tls" not in args
        assert [arg for arg in args if arg.startswith("--kubelet-certificate-authority=")]


def nodes_with_figures(cluster: Api) -> set[str]:
    answer = cluster.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes")
    return {item["metadata"]["name"] for item in answer["items"] if item["usage"]["cpu"] != "0"}


def all_nodes(cluster: Api) -> list[str]:
    return [node["metadata"]["name"] for node in cluster.list("v1", "Node")]


def test_a_new_pool_starts_at_its_minimum_and_grows_with_its_load(place: Place) -> None:
    play(place)
    with every_value(place) as seen:
        play(place, min=2, max=3)
        assert len(names(place, "desk")) == 2
        with ThreadPoolExecutor(2) as threads:
            burning = [threads.submit(run_in, place, pod, BURN, 300) for pod in names(place, "desk")]
            eventually("a third pod", lambda: replicas(place) == 3)
            # Whose number it is: the play changes nothing, and takes nothing back.
            assert "changed=0 " in play(place, min=2, max=3)
            assert replicas(place) == 3
            for each in burning:
                each.result(300)
        eventually("two pods again", lambda: replicas(place) == 2)
    assert set(seen) == {2, 3}


def test_scaling_in_ends_no_running_task(place: Place) -> None:
    """Every pod is full of tasks when the autoscaler takes all but one of them away."""
    play(place, min=3, max=3)
    # One that does not consume yet would get its tasks when the first ones have ended.
    eventually("three pods that consume", lambda: len(names(place, "desk", is_ready)) == 3)
    (client,) = names(place, "default")
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run_in, place, client, SEND % (100, 6), 600)
        eventually("six running tasks", lambda: active(place) == 6)
        play(place, min=1, max=3)
        eventually("scaling in", lambda: replicas(place) == 1)
        asked: dict[str, float] = {}
        eventually("two pods that were asked to end", lambda: asked.update(leaving(place)) or len(asked) == 2)
        said = dict(line.split(" ", 1) for line in running.result(600).splitlines() if line[:5] in ("RUNNI", "ENDED"))
    began, ended = json.loads(said["RUNNING"]), json.loads(said["ENDED"])
    # Nobody else took one over: what was begun was brought to its end where it was begun.
    assert {task: worker for task, (worker, _when) in ended.items()} == began
    assert len(set(began.values())) == 3
    for pod, when in asked.items():
        ends = [moment for worker, moment in ended.values() if worker == f"celery@{pod}"]
        assert [moment > when for moment in ends] == [True, True], "its tasks ran when it was asked to end"
    eventually("one pod", lambda: len(names(place, "desk")) == 1)


def active(place: Place) -> int:
    """Tasks that run in the pool; celery_info counts them."""
    args = {"namespace": place.namespace, "app": "quotes.app", "python": PYTHON}
    found = run_module("celery_info", args)
    assert not found.get("failed"), found
    return sum(row["active"] for row in found["queues"] if row["queue"] == "desk")


def leaving(place: Place) -> dict[str, float]:
    """Pods that were asked to end: when, as a Unix time."""
    found = {}
    for pod in place.cluster.list("v1", "Pod", place.namespace, label_selector="pool=desk"):
        deleted = pod["metadata"].get("deletionTimestamp")
        if deleted:
            # Kubernetes notes when the grace period is over.
            moment = datetime.datetime.fromisoformat(deleted).timestamp()
            found[pod["metadata"]["name"]] = moment - pod["metadata"]["deletionGracePeriodSeconds"]
    return found


def test_autoscaling_that_is_turned_off_gives_the_pods_back_at_once(place: Place) -> None:
    play(place, min=3, max=4)
    eventually("three pods", lambda: replicas(place) == 3)
    with every_value(place) as seen:
        play(place)
    assert replicas(place) == 2
    assert set(seen) == {3, 2}
    path = f"/apis/autoscaling/v2/namespaces/{place.namespace}/horizontalpodautoscalers"
    assert place.cluster.request("GET", path)["items"] == []
