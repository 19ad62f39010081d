# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module manifests against a real API server: no kubelet and no controllers, so nothing is waited for."""

from __future__ import annotations

import copy
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.manifests import apply, config_map, deployment, every_kind, limit_range, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)


@pytest.fixture
def config(api: Api, namespace: str) -> Json:
    obj = config_map(namespace, a="1", b="2")
    api.apply(obj, field_manager="celeryops")
    return obj


# Every kind


def test_cycle_of_every_kind(namespace: str, kube_module: Any) -> None:
    objects = every_kind(namespace)
    results = [apply(kube_module, *objects, check=check) for check in CYCLE]
    kinds = [{entry["kind"]: entry["action"] for entry in result["objects"]} for result in results]
    assert not any(result.get("failed") for result in results), results
    assert [set(one.values()) for one in kinds] == [{"created"}, {"created"}, {"unchanged"}, {"unchanged"}]
    assert [result["changed"] for result in results] == [True, True, False, False]
    # All kinds at once, and in an order in which each finds what it needs.
    order = [entry["kind"] for entry in results[0]["objects"]]
    assert len(order) == len(objects)
    for first, second in (("LimitRange", "ServiceAccount"), ("Secret", "Deployment"), ("Deployment", "Job")):
        assert order.index(first) < order.index(second) or {first, second} == {"Deployment", "Job"}
    assert order.index("PodDisruptionBudget") > order.index("StatefulSet")
    assert {entry["planned_on"] for entry in results[0]["objects"]} == {"server"}


def test_a_namespace_and_what_is_in_it(api: Api, namespace: str, kube_module: Any) -> None:
    later = f"{namespace}-later"
    objects = [
        config_map(later, a="1"),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later, "labels": {"a": "b"}}},
    ]
    results = [apply(kube_module, *objects, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    planned = [(entry["kind"], entry["action"], entry["planned_on"]) for entry in results[0]["objects"]]
    assert planned == [("Namespace", "created", "server"), ("ConfigMap", "created", "client")]
    assert live(api, objects[0])["data"] == {"a": "1"}


def test_a_definition_of_a_kind_and_an_object_of_it(api: Api, namespace: str, kube_module: Any) -> None:
    group = f"{namespace}.example.com"
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "names": names,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    widget = {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": "one", "namespace": namespace},
        "spec": {"size": 3},
    }
    results = [apply(kube_module, widget, definition, check=check) for check in CYCLE]
    assert not any(result.get("failed") for result in results), results
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["objects"][1]["planned_on"] == "client"
    assert live(api, widget)["spec"] == {"size": 3}
    removed = apply(kube_module, widget, definition, state="absent")
    assert [entry["kind"] for entry in removed["objects"]] == ["Widget", "CustomResourceDefinition"]


# Changes and drift


def test_a_changed_and_a_removed_field(api: Api, config: Json, kube_module: Any) -> None:
    config["data"] = {"a": "1 more"}
    results = [apply(kube_module, config, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    for result in results[:2]:
        assert result["objects"][0]["diff"] == [
            {"path": "data.a", "before": "1", "after": "1 more"},
            {"path": "data.b", "before": "2", "after": None},
        ]
        assert "b: '2'" in result["diff"][0]["before"]
        assert "b:" not in result["diff"][0]["after"]
    assert live(api, config)["data"] == {"a": "1 more"}


@pytest.mark.parametrize("author", ["kubectl-edit", "celeryops"])
def test_drift_is_put_right_and_its_author_named(api: Api, config: Json, kube_module: Any, author: str) -> None:
    api.patch(ObjectRef.of(config), {"data": {"a": "edited", "theirs": "x"}}, field_manager=author)
    results = [apply(kube_module, config, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    for result in results[:2]:
        assert result["objects"][0]["drift"] == [{"manager": author, "field": ".data.a"}]
        assert author in result["diff"][0]["after_header"]
    # What others added is none of our business.
    assert live(api, config)["data"] == {"a": "1", "b": "2", "theirs": "x"}


def test_a_field_that_was_deleted_comes_back(api: Api, config: Json, kube_module: Any) -> None:
    api.patch(ObjectRef.of(config), {"data": {"a": None}}, field_manager="kubectl-patch")
    assert [apply(kube_module, config, check=check)["changed"] for check in CYCLE] == [True, True, False, False]
    assert live(api, config)["data"] == {"a": "1", "b": "2"}


def test_another_applier_is_a_conflict(api: Api, config: Json, kube_module: Any) -> None:
    api.apply({**config, "data": {"a": "theirs"}}, field_manager="argocd", force=True)
    other = config_map(config["metadata"]["namespace"], "before", x="y")
    for check in (True, False):
        result = apply(kube_module, other, config, check=check)
        assert result["failed"]
        assert ".data.a belongs to argocd" in result["msg"]
        assert "force_conflicts" in result["msg"]
        assert result["error"]["conflicts"] == [{"manager": "argocd", "field": ".data.a"}]
        # What was done before is told, and so is what was not reached.
        assert [entry["action"] for entry in result["objects"]] == ["created", "failed"]
        assert result["changed"]
    assert live(api, config)["data"]["a"] == "theirs"
    forced = [apply(kube_module, config, check=check, force_conflicts=True) for check in CYCLE]
    assert [result["changed"] for result in forced] == [True, True, False, False]
    assert forced[1]["objects"][0]["drift"] == [{"manager": "argocd", "field": ".data.a"}]
    assert live(api, config)["data"]["a"] == "1"


def test_a_controllers_field_is_a_conflict(api: Api, config: Json, kube_module: Any) -> None:
    api.patch(ObjectRef.of(config), {"data": {"a": "theirs"}}, field_manager="some-operator")
    result = apply(kube_module, config)
    assert result["failed"]
    assert ".data.a belongs to some-operator" in result["msg"]
    # Left out, it stays as it is.
    del config["data"]["a"]
    assert [apply(kube_module, config, check=check)["changed"] for check in CYCLE][2:] == [False, False]
    assert live(api, config)["data"] == {"a": "theirs", "b": "2"}


def test_fields_that_had_the_right_value_become_ours(api: Api, namespace: str, kube_module: Any) -> None:
    obj = config_map(namespace, a="1")
    api.create(obj, field_manager="kubectl-create")
    results = [apply(kube_module, obj, check=check) for check in CYCLE]
    assert [result["objects"][0]["action"] for result in results] == ["adopted", "adopted", "unchanged", "unchanged"]
    # Only now can leaving it out remove it.
    obj["data"] = {}
    assert apply(kube_module, obj)["changed"]


# Secrets, files, removal


def test_values_of_secrets_are_not_shown(namespace: str, kube_module: Any) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": namespace},
        "data": {"a": "b2xkLXZhbHVl", "same": "c2FtZS12YWx1ZQ=="},
    }
    created = apply(kube_module, secret)
    secret["data"]["a"] = "bmV3LXZhbHVl"
    changed = apply(kube_module, secret)
    for result in (created, changed):
        result.pop("invocation", None)
        for text in ("b2xkLXZhbHVl", "bmV3LXZhbHVl", "c2FtZS12YWx1ZQ=="):
            assert text not in json.dumps(result)
    assert changed["objects"][0]["diff"] == [{"path": "data.a", "before": "<redacted>", "after": "<redacted>"}]
    assert "a: <new value redacted>" in changed["diff"][0]["after"]
    assert "same: <redacted>" in changed["diff"][0]["after"]


def test_files_and_the_default_namespace(api: Api, namespace: str, kube_module: Any, tmp_path: Path) -> None:
    obj = config_map(namespace, a="1")
    del obj["metadata"]["namespace"]
    listed = {"apiVersion": "v1", "kind": "List", "items": [obj, {**obj, "metadata": {"name": "second"}}]}
    path = tmp_path / "objects.yml"
    path.write_text("---\n" + yaml.safe_dump(listed) + "---\n", encoding="utf-8")
    args = {"src": [str(path)], "namespace": namespace, "wait": False}
    results = [kube_module("manifests", args, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [entry["namespace"] for entry in results[0]["objects"]] == [namespace, namespace]
    assert len(api.list("v1", "ConfigMap", namespace)) == 2


def test_removal_cycle(api: Api, namespace: str, kube_module: Any) -> None:
    objects = [limit_range(namespace), config_map(namespace, a="1"), deployment(namespace)]
    apply(kube_module, *objects)
    results = [apply(kube_module, *objects, check=check, state="absent", wait=True) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [entry["action"] for entry in results[1]["objects"]] == ["deleted"] * 3
    assert [entry["kind"] for entry in results[1]["objects"]] == ["Deployment", "ConfigMap", "LimitRange"]
    assert [entry["action"] for entry in results[3]["objects"]] == ["absent"] * 3
    assert all(api.get(ObjectRef.of(obj)) is None for obj in objects)


# Bad input, and a server that is not there


def test_every_mistake_is_named_before_anything_is_done(api: Api, namespace: str, kube_module: Any) -> None:
    good = config_map(namespace, a="1")
    bad = [
        good,
        good,
        {"kind": "ConfigMap", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}},
        {"apiVersion": "v1", "kind": "ConfigMap"},
        "text",
        None,
    ]
    result = kube_module("manifests", {"definitions": bad, "wait": False})
    assert result["failed"]
    for told in ("more than once", "lacks apiVersion", "generateName", "lacks metadata.name", "found str"):
        assert told in result["msg"]
    assert (result["changed"], result["objects"]) == (False, [])
    assert api.get(ObjectRef.of(good)) is None


def test_an_unknown_kind_and_an_unknown_field(api: Api, namespace: str, kube_module: Any) -> None:
    good = config_map(namespace, a="1")
    unknown = {
        "apiVersion": "example.com/v1",
        "kind": "Gadget",
        "metadata": {"name": "x", "namespace": namespace},
    }
    planned = apply(kube_module, good, unknown, check=True)
    assert planned["objects"][1]["planned_on"] == "client"
    result = apply(kube_module, good, unknown)
    assert result["failed"]
    assert "does not know Gadget" in result["msg"]
    assert api.get(ObjectRef.of(good)) is None, "unknown kinds are found before anything is written"
    mistyped = copy.deepcopy(deployment(namespace))
    mistyped["spec"]["template"]["spec"]["containers"][0]["imagePulPolicy"] = "Always"
    result = apply(kube_module, mistyped, check=True)
    assert result["failed"]
    assert "imagePulPolicy" in result["msg"]


def test_a_field_that_cannot_change(namespace: str, kube_module: Any) -> None:
    worker = deployment(namespace)
    apply(kube_module, worker)
    worker["spec"]["selector"] = {"matchLabels": {"app": "worker", "more": "x"}}
    worker["spec"]["template"]["metadata"]["labels"]["more"] = "x"
    result = apply(kube_module, worker)
    assert result["failed"]
    assert "field is immutable" in result["msg"]
    assert f"delete Deployment {namespace}/worker" in result["error"]["remedy"]


def test_without_a_cluster(namespace: str, kube_module: Any, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    obj = config_map(namespace, a="1")
    planned = kube_module("manifests", {"definitions": [obj], "kubeconfig": missing}, check=True, diff=True)
    assert (planned["changed"], planned["objects"][0]["planned_on"]) == (True, "client")
    result = kube_module("manifests", {"definitions": [obj], "kubeconfig": missing})
    assert result["failed"]
    assert "kubeconfig" in result["msg"]


def test_a_server_that_does_not_answer(api_server: Any, namespace: str, kube_module: Any, tmp_path: Path) -> None:
    config = json.loads(api_server.kubeconfig.read_text(encoding="ascii"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config), encoding="ascii")
    args = {"definitions": [config_map(namespace, a="1")], "kubeconfig": str(path), "retry_timeout": 0.2}
    for check in (True, False):
        result = kube_module("manifests", args, check=check)
        assert result["failed"]
        assert "no answer from the API server" in result["msg"]
        assert "remedy" in result["msg"]


def test_two_runs_at_once_converge(api: Api, namespace: str, kube_module: Any) -> None:
    objects = [config_map(namespace, f"c{number}", a="1") for number in range(10)]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: apply(kube_module, *objects), range(3)))
    assert not any(result.get("failed") for result in results)
    assert not apply(kube_module, *objects)["changed"]
    assert len(api.list("v1", "ConfigMap", namespace)) == 10
