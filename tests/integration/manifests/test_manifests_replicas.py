# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving replicas to an autoscaler and taking them back. Every value they had on the way is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers.faults import Held, Proxy
from helpers.manifests import actions, apply, config_map, deployment, every_kind, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)


def autoscaler(namespace: str, name: str = "worker", kind: str = "Deployment") -> Json:
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "minReplicas": 2,
            "maxReplicas": 9,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
                }
            ],
        },
    }


def scale(api: Api, obj: Json, replicas: int) -> None:
    """As the controller of autoscalers does."""
    api.patch(
        ObjectRef.of(obj),
        {"spec": {"replicas": replicas}},
        subresource="scale",
        field_manager="kube-controller-manager",
    )


@contextmanager
def replicas_of(api: Api, obj: Json) -> Iterator[list[int]]:
    """Collects every value that the object's replicas have had, from now to the end of the block."""
    ref = ObjectRef.of(obj)
    before = api.get(ref)
    seen: list[int] = [before["spec"]["replicas"]] if before else []
    start = before["metadata"]["resourceVersion"] if before else _newest(api, obj)
    yield seen
    # A write of the test's own marks the end of what is to be looked at.
    last = api.patch(ref, {"metadata": {"annotations": {"end": "1"}}})["metadata"]["resourceVersion"]
    events = api.watch(
        ref.api_version,
        ref.kind,
        ref.namespace,
        field_selector=f"metadata.name={ref.name}",
        resource_version=start,
        timeout=30,
    )
    for _type, found in events:
        seen.append(found["spec"]["replicas"])
        if found["metadata"]["resourceVersion"] == last:
            break
    api.patch(ref, {"metadata": {"annotations": {"end": None}}})


def _newest(api: Api, obj: Json) -> str:
    ref = ObjectRef.of(obj)
    path = api.resource(ref.api_version, ref.kind).path(ref.namespace)
    return str(api.request("GET", path)["metadata"]["resourceVersion"])


@pytest.fixture(params=["Deployment", "StatefulSet"])
def workload(request: Any, namespace: str) -> Json:
    """With three replicas."""
    if request.param == "Deployment":
        return deployment(namespace)
    found: Json = next(obj for obj in every_kind(namespace) if obj["kind"] == "StatefulSet")
    return found


def test_given_to_an_autoscaler(api: Api, workload: Json, kube_module: Any) -> None:
    apply(kube_module, workload)
    del workload["spec"]["replicas"]
    with replicas_of(api, workload) as seen:
        results = [apply(kube_module, workload, check=check) for check in CYCLE]
        scale(api, workload, 5)
        after = [apply(kube_module, workload, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    # Not a field of the object changes, only whose it is.
    assert [result["objects"][0]["action"] for result in results[:2]] == ["adopted", "adopted"]
    assert results[0]["objects"][0]["diff"] == results[1]["objects"][0]["diff"] == []
    assert [result["changed"] for result in after] == [False] * 4
    assert set(seen) == {3, 5}


def test_given_away_together_with_another_change(api: Api, workload: Json, kube_module: Any) -> None:
    apply(kube_module, workload)
    del workload["spec"]["replicas"]
    workload["spec"]["template"]["spec"]["containers"][0]["image"] = "example.invalid/app:2"
    with replicas_of(api, workload) as seen:
        results = [apply(kube_module, workload, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    path = f"spec.template.spec.containers[name={workload['spec']['template']['spec']['containers'][0]['name']}].image"
    for result in results[:2]:
        assert [one["path"] for one in result["objects"][0]["diff"]] == [path]
    assert set(seen) == {3}


def test_taken_back_when_the_autoscaler_is_gone(api: Api, workload: Json, kube_module: Any) -> None:
    apply(kube_module, workload)
    wanted = workload["spec"].pop("replicas")
    apply(kube_module, workload)
    scale(api, workload, 5)
    workload["spec"]["replicas"] = wanted
    with replicas_of(api, workload) as seen:
        results = [apply(kube_module, workload, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert set(seen) == {5, 3}
    for result in results[:2]:
        assert result["objects"][0]["drift"] == [{"manager": "kube-controller-manager", "field": ".spec.replicas"}]


def test_taken_back_before_anything_was_scaled(api: Api, workload: Json, kube_module: Any) -> None:
    apply(kube_module, workload)
    del workload["spec"]["replicas"]
    apply(kube_module, workload)
    workload["spec"]["replicas"] = 4
    with replicas_of(api, workload) as seen:
        results = [apply(kube_module, workload, check=check) for check in CYCLE]
        # And given away again, now from the new value.
        del workload["spec"]["replicas"]
        again = [apply(kube_module, workload, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["changed"] for result in again] == [True, True, False, False]
    assert set(seen) == {3, 4}


def test_an_autoscaler_that_is_there_is_a_conflict(api: Api, workload: Json, kube_module: Any) -> None:
    apply(kube_module, workload)
    name, kind, namespace = workload["metadata"]["name"], workload["kind"], workload["metadata"]["namespace"]
    api.create(autoscaler(namespace, name, kind))
    scale(api, workload, 5)
    for check in (True, False):
        result = apply(kube_module, workload, check=check)
        assert result["failed"]
        assert (
            f".spec.replicas belongs to kube-controller-manager (for HorizontalPodAutoscaler {name})" in result["msg"]
        )
        assert "leave these fields out of the definition" in result["msg"]
    assert live(api, workload)["spec"]["replicas"] == 5
    with replicas_of(api, workload) as seen:
        assert apply(kube_module, workload, force_conflicts=True)["changed"]
    assert set(seen) == {5, 3}


def test_where_the_set_has_an_autoscaler_the_definition_says_where_to_start(
    api: Api, workload: Json, kube_module: Any
) -> None:
    namespace = workload["metadata"]["namespace"]
    scaler = autoscaler(namespace, workload["metadata"]["name"], workload["kind"])
    with replicas_of(api, workload) as seen:
        results = [apply(kube_module, workload, scaler, check=check) for check in CYCLE]
        scale(api, workload, 5)
        after = [apply(kube_module, workload, scaler, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["changed"] for result in after] == [False] * 4
    assert set(seen) == {3, 5}


def test_an_autoscaler_comes_and_leaves_with_the_set(api: Api, workload: Json, kube_module: Any) -> None:
    namespace = workload["metadata"]["namespace"]
    scaler = autoscaler(namespace, workload["metadata"]["name"], workload["kind"])
    options: Json = {"namespace": namespace, "apply_set": {"name": "app"}}
    run: Callable[..., Json] = lambda *objects, **more: apply(kube_module, *objects, **options, **more)  # noqa: E731
    run(workload)
    with replicas_of(api, workload) as seen:
        given = [run(workload, scaler, check=check) for check in CYCLE]
        scale(api, workload, 5)
        assert not run(workload, scaler)["changed"]
        taken = [run(workload, check=check) for check in CYCLE[:2]]
        again = [run(workload, check=check) for check in CYCLE[2:]]
    assert [result["changed"] for result in given] == [True, True, False, False]
    assert [result["changed"] for result in (*taken, *again)] == [True, True, False, False], taken
    assert actions(taken[1])[f"HorizontalPodAutoscaler {scaler['metadata']['name']}"] == "deleted"
    assert set(seen) == {3, 5}
    assert live(api, workload)["spec"]["replicas"] == 3


@pytest.mark.parametrize("dry_run", [True, False], ids=["planned", "written"])
def test_scaled_while_it_is_given_away(api: Api, workload: Json, proxy: Proxy, kube_module: Any, dry_run: bool) -> None:
    apply(kube_module, workload)
    api.create(autoscaler(workload["metadata"]["namespace"], workload["metadata"]["name"], workload["kind"]))
    del workload["spec"]["replicas"]
    with replicas_of(api, workload) as seen:
        run = Held(proxy, workload, dry_run=dry_run)
        scale(api, workload, 5)
        result = run.result()
    assert not result.get("failed"), result["msg"]
    assert set(seen) == {3, 5}
    assert live(api, workload)["spec"]["replicas"] == 5
    assert not apply(kube_module, workload)["changed"]


def test_what_others_own_as_well_is_not_handed_over(api: Api, namespace: str, kube_module: Any) -> None:
    worker = deployment(namespace)
    apply(kube_module, worker, config_map(namespace))
    part = {key: worker[key] for key in ("apiVersion", "kind", "metadata")} | {"spec": {"replicas": 3}}
    api.apply(part, field_manager="someone")
    del worker["spec"]["replicas"]
    assert apply(kube_module, worker)["changed"]
    managers = {entry["manager"] for entry in live(api, worker)["metadata"]["managedFields"]}
    assert managers == {"celeryops", "someone"}
    assert live(api, worker)["spec"]["replicas"] == 3
