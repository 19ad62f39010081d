# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions, order, ownership, pods to try, configuration hashes, what a diff may show."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from helpers.manifests import deployment, every_kind

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.admission import sample_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.definitions import kinds_in, parse_definitions
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import from_answer
from ansible_collections.celeryops.platform.plugins.module_utils._kube.order import rank
from ansible_collections.celeryops.platform.plugins.module_utils._kube.ownership import Claim, claims, is_drift
from ansible_collections.celeryops.platform.plugins.module_utils._kube.redact import redacted_changes, shown
from ansible_collections.celeryops.platform.plugins.module_utils._kube.resources import (
    ObjectRef,
    key_of,
    parse_discovery,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.rollout import Source, config_hash, sources


def obj(kind: str, name: str = "x", **rest: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **rest}


# Definitions


def test_definitions_are_brought_into_form() -> None:
    secret = obj("Secret", stringData={"a": "b"}, data={"c": "ZA=="})
    documents = [
        None,
        {},
        {"apiVersion": "v1", "kind": "List", "items": [secret, None]},
        obj("Namespace", "n", spec=None),
    ]
    found = parse_definitions(documents, {("v1", "Namespace"): False}, "shop")
    assert found == [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "x", "namespace": "shop"},
            "data": {"a": "Yg==", "c": "ZA=="},
        },
        obj("Namespace", "n"),
    ]
    assert kinds_in(documents) == {("v1", "Secret"), ("v1", "Namespace")}


def test_a_given_namespace_stays() -> None:
    given = obj("ConfigMap")
    given["metadata"]["namespace"] = "mine"
    assert parse_definitions([given], {}, "shop")[0]["metadata"]["namespace"] == "mine"


def test_all_mistakes_are_named() -> None:
    bad = [obj("ConfigMap"), obj("ConfigMap"), {"kind": "A"}, {"metadata": {"name": 5}}, "x"]
    with pytest.raises(CeleryOpsError) as caught:
        parse_definitions(bad, {}, None)
    for told in ("ConfigMap x is defined more than once", "definition 3", "must be a string, found 5", "found str"):
        assert told in str(caught.value)


@pytest.mark.parametrize("field", ["data", "stringData"])
def test_values_that_want_quotes_are_named_without_showing_them(field: str) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        parse_definitions([obj("Secret", **{field: {"port": 31337}}), obj("ConfigMap", **{field: "text"})], {}, None)
    assert f"Secret x: {field}.port must be a string, found int" in str(caught.value)
    assert f"ConfigMap x: {field} must be a mapping" in str(caught.value)
    assert "31337" not in str(caught.value)


# Order


def test_order() -> None:
    kinds = ["Namespace", "CustomResourceDefinition", "LimitRange", "ServiceAccount", "Secret"]
    kinds += ["PersistentVolumeClaim", "Service", "Deployment", "HorizontalPodAutoscaler", "Anything", "APIService"]
    assert sorted(kinds, key=rank) == kinds


# Ownership


@pytest.mark.parametrize(
    ("manager", "operation", "subresource", "drift"),
    [
        ("kubectl-edit", "Update", "", True),
        ("kubectl", "Update", "scale", True),
        ("argocd", "Apply", "", False),
        ("kube-controller-manager", "Update", "scale", False),
        ("keda-operator", "Update", "", False),
        ("vpa-updater", "Update", "", False),
    ],
)
def test_single_writes_are_drift(manager: str, operation: str, subresource: str, drift: bool) -> None:
    entry = {"manager": manager, "operation": operation, **({"subresource": subresource} if subresource else {})}
    live = {"metadata": {"managedFields": [entry]}}
    assert is_drift(Claim(manager, ".spec.replicas", subresource), live, "celeryops") is drift


def test_a_single_write_under_our_own_name_is_drift_too() -> None:
    entries = [{"manager": "celeryops", "operation": operation} for operation in ("Apply", "Update")]
    live = {"metadata": {"managedFields": entries}}
    assert is_drift(Claim("celeryops", ".spec.replicas"), live, "celeryops")
    assert not is_drift(Claim("celeryops", ".spec.replicas"), live, "another")


def test_who_is_not_recorded_is_no_drift() -> None:
    assert not is_drift(Claim("kubectl-edit", ".spec.replicas"), {"metadata": {}}, "celeryops")


def test_claims_are_read_from_the_servers_answer() -> None:
    body = (
        b'{"kind":"Status","message":"Apply failed","reason":"Conflict","code":409,"details":{"causes":['
        b'{"reason":"FieldManagerConflict","message":'
        b'"conflict with \\"kubectl\\" with subresource \\"scale\\" using apps/v1",'
        b'"field":".spec.replicas"},{"reason":"FieldManagerConflict","message":"conflict with \\"argocd\\" using v1",'
        b'"field":".data.a"},{"reason":"Other","message":"x"}]}}'
    )
    error = from_answer("apply of X", 409, body)
    assert (error.conflict, error.reason, error.server_message) == (True, "Conflict", "Apply failed")
    assert claims(error.causes) == [Claim("kubectl", ".spec.replicas", "scale"), Claim("argocd", ".data.a")]


@pytest.mark.parametrize("body", [b"", b"<html>", b'"text"', b"[1]"])
def test_any_answer_makes_an_error(body: bytes) -> None:
    error = from_answer("GET /x", 502, body)
    assert (error.status, error.causes) == (502, [])
    assert "GET /x" in str(error)


# Pods to try


def test_a_pod_is_made_as_its_controller_would() -> None:
    by_kind = {one["kind"]: one for one in every_kind("shop")}
    pods = {kind: sample_pod(one) for kind, one in by_kind.items()}
    assert {kind for kind, pod in pods.items() if pod} == {"Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"}
    redis = pods["StatefulSet"]
    assert redis is not None
    assert redis["metadata"] == {"name": "redis-admission-check", "namespace": "shop", "labels": {"app": "redis"}}
    assert redis["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    assert "volumes" not in by_kind["StatefulSet"]["spec"]["template"]["spec"], "the definition stays as it is"


# Configuration hashes


def test_everything_a_pod_reads_is_found() -> None:
    worker = deployment("shop")
    spec = worker["spec"]["template"]["spec"]
    spec["initContainers"][0]["envFrom"] = [{"secretRef": {"name": "init"}}]
    spec["volumes"] += [
        {"name": "a", "configMap": {"name": "files", "items": [{"key": "one", "path": "x"}]}},
        {"name": "b", "secret": {"secretName": "tls"}},
        {"name": "c", "projected": {"sources": [{"configMap": {"name": "p"}}, {"secret": {"name": "q"}}]}},
    ]
    assert sources(worker) == (
        Source("ConfigMap", "app-config"),
        Source("ConfigMap", "files", "one"),
        Source("ConfigMap", "p"),
        Source("Secret", "app-secrets", "password"),
        Source("Secret", "init"),
        Source("Secret", "q"),
        Source("Secret", "tls"),
    )


def test_the_hash_follows_what_is_read() -> None:
    read = (Source("ConfigMap", "c"), Source("Secret", "s", "key"))
    objects: dict[tuple[str, str], Any] = {
        ("ConfigMap", "c"): {"metadata": {}, "data": {"a": "1"}},
        ("Secret", "s"): {"metadata": {"uid": "u1"}, "data": {"key": "eA==", "other": "eQ=="}},
    }

    def digest(changed: Any = None) -> str | None:
        return config_hash(read, lambda kind, name: {**objects, **(changed or {})}.get((kind, name)))

    def secret(uid: str, **data: str) -> dict[tuple[str, str], Any]:
        return {("Secret", "s"): {"metadata": {"uid": uid}, "data": data}}

    first = digest()
    assert first == digest()
    assert digest(secret("u1", key="eA==", other="changed")) == first
    others = [
        digest(secret("u1", key="eg==")),
        digest(secret("u2", key="eA==")),
        digest({("ConfigMap", "c"): {"metadata": {}, "data": {"a": "1", "b": ""}}}),
        digest({("ConfigMap", "c"): None}),
        digest({("ConfigMap", "c"): {"metadata": {}}}),
    ]
    assert len({first, *others}) == len(others) + 1
    assert config_hash((), lambda kind, name: None) is None


# What may be shown


def test_secrets_are_shown_without_values() -> None:
    before = obj("Secret", data={"a": "old", "same": "x"}, type="Opaque")
    after = obj("Secret", data={"a": "new", "same": "x", "more": "y"}, type="Opaque")
    assert shown(before, after, label="old value redacted")["data"] == {
        "a": "<old value redacted>",
        "same": "<redacted>",
    }
    assert shown(after, before, label="new value redacted")["data"] == {
        "a": "<new value redacted>",
        "same": "<redacted>",
        "more": "<new value redacted>",
    }
    assert before["data"]["a"] == "old", "the object itself stays as it is"
    found = [
        {"path": "data.a", "before": "old", "after": None},
        {"path": "data['x.y']", "before": "old", "after": "new"},
        {"path": "metadata.labels.a", "before": "1", "after": "2"},
    ]
    assert redacted_changes("Secret", copy.deepcopy(found)) == [
        {"path": "data.a", "before": "<redacted>", "after": None},
        {"path": "data['x.y']", "before": "<redacted>", "after": "<redacted>"},
        found[2],
    ]
    assert redacted_changes("ConfigMap", found) == found


def test_a_copy_of_a_secret_in_an_annotation_is_not_shown() -> None:
    secret = obj("Secret", data={"a": "b"})
    secret["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"a":"b"}}'}
    assert "annotations" not in shown(secret)["metadata"]


# Kinds and paths


def test_discovery_and_paths() -> None:
    core = {
        "items": [
            {
                "metadata": {},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced"},
                            {"resource": "nodes", "responseKind": {"kind": "Node"}, "scope": "Cluster"},
                            {"resource": "odd"},
                        ],
                    }
                ],
            }
        ]
    }
    apps = {
        "items": [
            {
                "metadata": {"name": "apps"},
                "versions": [
                    {
                        "version": "v1",
                        "resources": [
                            {"resource": "deployments", "responseKind": {"kind": "Deployment"}, "scope": "Namespaced"},
                        ],
                    }
                ],
            },
            {"metadata": {"name": "empty"}},
        ]
    }
    found = parse_discovery([core, apps])
    assert set(found) == {("v1", "Pod"), ("v1", "Node"), ("apps/v1", "Deployment")}
    assert found["v1", "Pod"].path("a b", "x", "log") == "/api/v1/namespaces/a%20b/pods/x/log"
    assert found["v1", "Pod"].path() == "/api/v1/pods"
    assert found["v1", "Node"].path("ignored", "n") == "/api/v1/nodes/n"
    assert found["apps/v1", "Deployment"].path("a") == "/apis/apps/v1/namespaces/a/deployments"


def test_objects_are_the_same_in_any_version() -> None:
    one, other = obj("Widget"), obj("Widget")
    one["apiVersion"], other["apiVersion"] = "g.example/v1", "g.example/v2"
    assert key_of(one) == key_of(other)
    assert ObjectRef.of(one) != ObjectRef.of(other)
    assert (str(key_of(one)), str(ObjectRef("v1", "Pod", "p", "n"))) == ("Widget x", "Pod n/p")
