# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module generated_secret against a real API server."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

KEYS = {
    "DJANGO_SECRET_KEY": {"length": 64, "charset": "urlsafe", "min_length": 50},
    "FIELD_ENCRYPTION_KEY": {"charset": "fernet"},
    "username": {"value": "jewelry_app"},
}


def one(namespace: str, data: Any, **options: Any) -> dict[str, Any]:
    return {"namespace": namespace, "secrets": [{"name": "app-secrets", "data": data, **options}]}


def live(api: Api, namespace: str, name: str = "app-secrets") -> Json:
    found = api.get(ObjectRef("v1", "Secret", name, namespace))
    assert found is not None
    return found


def values(api: Api, namespace: str) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in live(api, namespace)["data"].items()}


def test_values_are_made_once(api: Api, namespace: str, kube_module: Any) -> None:
    args = one(namespace, KEYS, labels={"app.kubernetes.io/part-of": "shop"})
    outcomes = []
    for check in (True, False, True, False):
        result = kube_module("generated_secret", args, check=check, diff=True)
        outcomes.append((result["changed"], result["secrets"][0]["action"], len(result["secrets"][0]["generated"])))
        if not check and len(outcomes) == 2:
            first = values(api, namespace)
    assert outcomes == [(True, "created", 3), (True, "created", 3), (False, "unchanged", 0), (False, "unchanged", 0)]
    assert values(api, namespace) == first
    assert len(first["DJANGO_SECRET_KEY"]) == 64
    assert len(base64.urlsafe_b64decode(first["FIELD_ENCRYPTION_KEY"])) == 32
    assert first["username"] == "jewelry_app"
    assert live(api, namespace)["metadata"]["labels"] == {"app.kubernetes.io/part-of": "shop"}


def test_no_value_is_shown(api: Api, namespace: str, kube_module: Any) -> None:
    result = kube_module("generated_secret", one(namespace, KEYS), diff=True)
    result.pop("invocation", None)
    text = json.dumps(result)
    found = values(api, namespace)
    for key in ("DJANGO_SECRET_KEY", "FIELD_ENCRYPTION_KEY"):
        assert found[key] not in text
        assert live(api, namespace)["data"][key] not in text
    assert "DJANGO_SECRET_KEY: <new value redacted>" in result["diff"][0]["after"]


def test_a_missing_key_is_added_and_nothing_else_touched(api: Api, namespace: str, kube_module: Any) -> None:
    kube_module("generated_secret", one(namespace, {"a": {}}))
    foreign = base64.b64encode(b"theirs").decode()
    api.patch(ObjectRef("v1", "Secret", "app-secrets", namespace), {"data": {"foreign": foreign}})
    before = values(api, namespace)
    result = kube_module("generated_secret", one(namespace, {"a": {}, "b": {"length": 10}}), diff=True)
    after = values(api, namespace)
    assert result["changed"]
    assert result["secrets"][0] == {
        "namespace": namespace,
        "name": "app-secrets",
        "action": "configured",
        "declared": ["a", "b"],
        "generated": ["b"],
    }
    assert {key: after[key] for key in before} == before
    assert len(after["b"]) == 10
    # Declared keys are a minimum: leaving one out later removes nothing.
    assert not kube_module("generated_secret", one(namespace, {"b": {}}))["changed"]
    assert values(api, namespace) == after


def test_labels_are_put_right(api: Api, namespace: str, kube_module: Any) -> None:
    kube_module("generated_secret", one(namespace, {"a": {}}, labels={"x": "1"}))
    api.patch(ObjectRef("v1", "Secret", "app-secrets", namespace), {"metadata": {"labels": {"x": "2", "theirs": "3"}}})
    before = values(api, namespace)
    result = kube_module("generated_secret", one(namespace, {"a": {}}, labels={"x": "1"}))
    assert result["changed"]
    assert live(api, namespace)["metadata"]["labels"] == {"x": "1", "theirs": "3"}
    assert values(api, namespace) == before


@pytest.mark.parametrize(
    ("present", "declared", "told"),
    [
        ({"a": "short"}, {"a": {"length": 64, "min_length": 50}}, "has 5 characters, at least 50 are needed"),
        ({"a": ""}, {"a": {}}, "has 0 characters"),
        ({"a": "not a key"}, {"a": {"charset": "fernet"}}, "is no Fernet key"),
        ({"a": "root"}, {"a": {"value": "app"}}, "holds another value"),
    ],
)
def test_what_will_not_do_is_reported_and_kept(
    api: Api,
    namespace: str,
    kube_module: Any,
    present: dict[str, str],
    declared: dict[str, Any],
    told: str,
) -> None:
    metadata = {"name": "app-secrets", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": present})
    args = one(namespace, {**declared, "new": {}})
    # Another Secret before it shows that all are looked at before one is written.
    args["secrets"].insert(0, {"name": "first", "data": {"a": {}}})
    for check in (True, False):
        result = kube_module("generated_secret", args, check=check)
        assert result["failed"]
        assert told in result["msg"]
        assert "remedy" in result["msg"]
        assert not any(value and value in result["msg"] for value in present.values())
        assert [entry["action"] for entry in result["secrets"]] == ["pending", "pending"]
    assert values(api, namespace) == present
    assert api.get(ObjectRef("v1", "Secret", "first", namespace)) is None


def test_another_type_is_reported(api: Api, namespace: str, kube_module: Any) -> None:
    kube_module("generated_secret", one(namespace, {"a": {}}))
    result = kube_module("generated_secret", one(namespace, {"a": {}}, type="celeryops.platform/x"))
    assert result["failed"]
    assert "is of type Opaque" in result["msg"]


def test_two_runs_at_once_make_one_value(api: Api, namespace: str, kube_module: Any) -> None:
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app-secrets", "namespace": namespace}})
    args = one(namespace, {f"k{number}": {} for number in range(5)})
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: kube_module("generated_secret", args), range(4)))
    assert not any(result.get("failed") for result in results)
    # Whoever came first made all the values; the others found them.
    assert sorted(len(result["secrets"][0]["generated"]) for result in results) == [0, 0, 0, 5]


def test_check_mode_without_namespace_or_cluster(namespace: str, kube_module: Any, tmp_path: Any) -> None:
    result = kube_module("generated_secret", one(f"{namespace}-later", {"a": {}}), check=True, diff=True)
    assert (result["changed"], result["secrets"][0]["action"]) == (True, "created")
    args = {**one(namespace, {"a": {}}), "kubeconfig": str(tmp_path / "missing")}
    result = kube_module("generated_secret", args, check=True)
    assert (result["changed"], result["secrets"][0]["action"]) == (True, "created")
    result = kube_module("generated_secret", args)
    assert result["failed"]
    assert "kubeconfig" in result["msg"]


def test_a_namespace_that_does_not_exist_fails(namespace: str, kube_module: Any) -> None:
    result = kube_module("generated_secret", one(f"{namespace}-nowhere", {"a": {}}))
    assert result["failed"]
    assert "not found" in result["msg"]
    assert result["secrets"][0]["action"] == "failed"


def test_every_mistake_is_named_at_once(namespace: str, kube_module: Any) -> None:
    bad = {
        "a": {"length": 0},
        "b": {"charset": "latin"},
        "c": {"value": "x", "length": 3},
        "d": {"lenght": 3},
        "e": "text",
        "f": {"length": 5, "min_length": 9},
    }
    args = {"namespace": namespace, "secrets": [{"name": "s", "data": bad}, {"name": "s", "data": {}}]}
    result = kube_module("generated_secret", args, check=True)
    assert result["failed"]
    for told in (
        "key a: length",
        "charset latin",
        "length does not go with value",
        "no option lenght",
        "key e: a mapping",
        "key f: length is less",
        "declared more than once",
        "declares no keys",
    ):
        assert told in result["msg"]
