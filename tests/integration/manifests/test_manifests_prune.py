# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting what has left a set: by the module alone, and in turns with the real kubectl."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.apiserver import ApiServer, find_binary
from helpers.manifests import actions, apply, config_map, deployment, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)
PART_OF = "applyset.kubernetes.io/part-of"
KINDS = "applyset.kubernetes.io/contains-group-kinds"
NAMESPACES = "applyset.kubernetes.io/additional-namespaces"

Apply = Callable[..., Json]


@pytest.fixture
def in_set(namespace: str, kube_module: Any) -> Apply:
    """Applies objects as the set `app` of the test's namespace."""

    def run(*objects: Json, options: Json | None = None, **more: Any) -> Json:
        given = {"name": "app", **(options or {})}
        return apply(kube_module, *objects, namespace=namespace, apply_set=given, **more)

    return run


def parent(api: Api, namespace: str, kind: str = "ConfigMap") -> Json:
    found = api.get(ObjectRef("v1", kind, "app", namespace))
    assert found is not None
    return found


def there(api: Api, obj: Json) -> bool:
    return api.get(ObjectRef.of(obj)) is not None


def claim(namespace: str, name: str = "reports") -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


# By the module alone


def test_what_left_the_set_is_deleted(api: Api, namespace: str, in_set: Apply) -> None:
    stays, leaves, worker = (
        config_map(namespace, "stays", a="1"),
        config_map(namespace, "leaves"),
        deployment(namespace),
    )
    first = [in_set(stays, leaves, worker, check=check) for check in CYCLE]
    assert [result["changed"] for result in first] == [True, True, False, False]
    assert first[1]["objects"][0]["name"] == "app"
    annotations = parent(api, namespace)["metadata"]["annotations"]
    assert (annotations[KINDS], annotations[NAMESPACES]) == ("ConfigMap,Deployment.apps", "")
    identity = parent(api, namespace)["metadata"]["labels"]["applyset.kubernetes.io/id"]
    assert live(api, stays)["metadata"]["labels"][PART_OF] == identity

    # What others made in the namespace is nobody's to delete.
    foreign = config_map(namespace, "foreign")
    api.create(foreign)
    results = [in_set(stays, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    for result in results[:2]:
        told = [(one["kind"], one["name"], one["action"]) for one in result["objects"]]
        # The workload goes before the configuration that it reads.
        assert told == [
            ("ConfigMap", "app", "configured"),
            ("ConfigMap", "stays", "unchanged"),
            ("Deployment", "worker", "deleted"),
            ("ConfigMap", "leaves", "deleted"),
        ]
        assert [one["after"] for one in result["diff"][1:]] == ["", ""]
    assert [there(api, obj) for obj in (stays, leaves, worker, foreign)] == [True, False, False, True]
    assert parent(api, namespace)["metadata"]["annotations"][KINDS] == "ConfigMap"


def test_claims_and_namespaces_are_kept_unless_named(api: Api, namespace: str, in_set: Apply) -> None:
    other = f"{namespace}-other"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}
    objects = (config_map(namespace, "stays"), config_map(other, "elsewhere"), space, claim(namespace))
    planned = in_set(*objects, check=True)
    assert actions(planned) == actions(in_set(*objects))
    assert parent(api, namespace)["metadata"]["annotations"][NAMESPACES] == other
    results = [in_set(objects[0], check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    for result in results:
        told = actions(result)
        assert told[f"Namespace {other}"] == told["PersistentVolumeClaim reports"] == "kept"
    assert actions(results[1])["ConfigMap elsewhere"] == "deleted"
    # They stay members, so that they can still be named.
    annotations = parent(api, namespace)["metadata"]["annotations"]
    assert annotations[KINDS] == "ConfigMap,Namespace,PersistentVolumeClaim"
    also = [f"Namespace {other}", f"PersistentVolumeClaim {namespace}/reports"]
    results = [in_set(objects[0], options={"prune_also": also}, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert (
        actions(results[1])[f"Namespace {other}"] == actions(results[1])["PersistentVolumeClaim reports"] == "deleted"
    )
    assert not there(api, claim(namespace)) or "deletionTimestamp" in live(api, claim(namespace))["metadata"]


def test_the_parent_may_live_in_a_namespace_of_the_set(api: Api, namespace: str, kube_module: Any) -> None:
    later = f"{namespace}-later"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": later}}
    options: Json = {"namespace": later, "apply_set": {"name": "app"}}
    results = [apply(kube_module, space, config_map(later), check=check, **options) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [one["planned_on"] for one in results[0]["objects"]] == ["client", "server", "client"]
    assert parent(api, later)["metadata"]["annotations"][KINDS] == "ConfigMap,Namespace"
    api.delete(ObjectRef.of(space))


def test_the_whole_set_is_removed(api: Api, namespace: str, in_set: Apply) -> None:
    kept, left, named = claim(namespace, "kept"), config_map(namespace, "left"), claim(namespace, "named")
    in_set(kept, left, named)
    results = [in_set(named, state="absent", check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert actions(results[1]) == {
        "ConfigMap left": "deleted",
        "PersistentVolumeClaim named": "deleted",
        "PersistentVolumeClaim kept": "kept",
        "ConfigMap app": "configured",
    }
    assert there(api, kept)
    options = {"prune_also": [f"PersistentVolumeClaim {namespace}/kept"]}
    results = [in_set(state="absent", options=options, check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert actions(results[1]) == {"PersistentVolumeClaim kept": "deleted", "ConfigMap app": "deleted"}
    assert api.get(ObjectRef("v1", "ConfigMap", "app", namespace)) is None


def test_members_are_known_before_they_are_written(api: Api, namespace: str, in_set: Apply) -> None:
    refused = config_map(namespace, "refused", a="ours")
    api.apply({**refused, "data": {"a": "theirs"}}, field_manager="argocd")
    first = config_map(namespace, "first")
    result = in_set(first, refused)
    assert result["failed"]
    assert [one["action"] for one in result["objects"]] == ["created", "created", "failed"]
    assert "before that, 2 of 3 objects were dealt with" in result["msg"]
    assert f"created ConfigMap {namespace}/first" in result["error"]["done"]
    # The set without what was written finds it.
    assert actions(in_set(config_map(namespace, "another")))["ConfigMap first"] == "deleted"


def test_nothing_is_deleted_when_the_apply_fails(api: Api, namespace: str, in_set: Apply) -> None:
    left = config_map(namespace, "left")
    in_set(left)
    result = in_set({**config_map(namespace, "bad"), "unknown": "x"})
    assert result["failed"]
    assert [one["action"] for one in result["objects"]] == ["unchanged", "failed", "pending"]
    assert there(api, left)


def test_what_a_controller_owns_is_not_deleted(api: Api, namespace: str, in_set: Apply) -> None:
    in_set(owner := config_map(namespace, "owner"))
    labels = live(api, owner)["metadata"]["labels"]
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "owner",
        "uid": live(api, owner)["metadata"]["uid"],
        "controller": True,
    }
    made = config_map(namespace, "made-by-a-controller")
    made["metadata"] |= {"labels": labels, "ownerReferences": [reference]}
    api.create(made)
    assert not in_set(owner)["changed"]
    assert there(api, made)


def test_sets_that_are_not_ours_are_left_alone(api: Api, namespace: str, in_set: Apply) -> None:
    mine = config_map(namespace, "mine")
    plain = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "namespace": namespace}}
    api.create(plain)
    for check in (True, False):
        result = in_set(mine, check=check)
        assert "no annotation applyset.kubernetes.io/tooling" in result["msg"]
    api.delete(ObjectRef.of(plain))
    in_set(mine, options={"tooling": "helm/v3"})
    result = in_set(mine)
    assert "it is managed by helm" in result["msg"]
    assert "apply_set.tooling" in result["error"]["remedy"]
    # A member of one set does not slip into another.
    result = in_set(mine, options={"name": "second"})
    assert "belongs to another apply set" in result["msg"]
    assert in_set(mine, options={"name": "second"}, force_conflicts=True)["changed"]
    labelled = config_map(namespace, "labelled")
    labelled["metadata"]["labels"] = {PART_OF: "x"}
    assert f"carries the label {PART_OF}" in in_set(labelled)["msg"]
    assert not there(api, labelled)


def test_a_set_is_not_emptied_by_mistake(api: Api, namespace: str, in_set: Apply) -> None:
    in_set(mine := config_map(namespace, "mine"))
    for check in (True, False):
        result = in_set(check=check)
        assert result["failed"]
        assert "would be emptied" in result["msg"]
    assert there(api, mine)


def test_a_set_without_a_namespace(kube_module: Any, namespace: str) -> None:
    result = apply(kube_module, config_map(namespace), apply_set={"name": "app"})
    assert "names no namespace" in result["msg"]


# In turns with kubectl


@pytest.fixture
def kubectl(api_server: ApiServer, namespace: str, tmp_path: Path) -> Callable[..., str]:
    """Applies objects as the set `app` with the real kubectl; returns what it printed, also when it failed."""

    def run(*objects: Json, parent: str) -> str:
        path = tmp_path / "objects.yml"
        path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
        command = [str(find_binary("kubectl")), f"--kubeconfig={api_server.kubeconfig}", f"--namespace={namespace}"]
        command += [
            "apply",
            "--server-side",
            "--force-conflicts",
            "--prune",
            f"--applyset={parent}",
            f"--filename={path}",
        ]
        environment = {**os.environ, "KUBECTL_APPLYSET": "true", "HOME": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout + done.stderr

    return run


SHARED = {"tooling": "kubectl/v1"}


def test_kubectl_prunes_what_we_applied(api: Api, namespace: str, in_set: Apply, kubectl: Callable[..., str]) -> None:
    stays, leaves = config_map(namespace, "stays"), deployment(namespace)
    in_set(stays, leaves, options=SHARED)
    said = kubectl(stays, parent="configmaps/app")
    assert "deployment.apps/worker pruned" in said
    assert [there(api, obj) for obj in (stays, leaves)] == [True, False]
    # What kubectl wrote down is what we would: taking turns changes the record once at most.
    assert not actions(in_set(stays, options=SHARED)).keys() - {"ConfigMap app", "ConfigMap stays"}
    assert not in_set(stays, options=SHARED)["changed"]


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_we_prune_what_kubectl_applied(
    api: Api, namespace: str, in_set: Apply, kubectl: Callable[..., str], kind: str
) -> None:
    stays, leaves = config_map(namespace, "stays"), deployment(namespace)
    said = kubectl(stays, leaves, parent=f"{kind.lower()}s/app")
    assert "deployment.apps/worker serverside-applied" in said
    options = {**SHARED, "kind": kind}
    results = [in_set(stays, options=options, field_manager="kubectl", check=check) for check in CYCLE]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert actions(results[1])["Deployment worker"] == "deleted"
    assert parent(api, namespace, kind)["metadata"]["annotations"][KINDS] == "ConfigMap"
    assert "pruned" not in kubectl(stays, parent=f"{kind.lower()}s/app")


def test_each_refuses_the_others_set(namespace: str, in_set: Apply, kubectl: Callable[..., str]) -> None:
    obj = config_map(namespace, "mine")
    in_set(obj)
    assert 'managed by tooling "celeryops" instead of "kubectl"' in kubectl(obj, parent="configmaps/app")
    kubectl(obj, parent="secrets/app")
    result = in_set(config_map(namespace, "new"), options={"kind": "Secret"})
    assert "it is managed by kubectl" in result["msg"]
