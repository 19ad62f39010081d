# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module manifests does about pods: trying them out, and rolling them when their configuration changes."""

from __future__ import annotations

from typing import Any

from helpers.manifests import actions, apply, config_map, deployment, limit_range, live

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

CYCLE = (True, False, True, False)
HASH = "celeryops.platform/config-hash"


# Trying pods out


def with_cpu(namespace: str, request: str, limit: str) -> Json:
    worker = deployment(namespace)
    resources = worker["spec"]["template"]["spec"]["containers"][0]["resources"]
    resources["requests"]["cpu"], resources["limits"]["cpu"] = request, limit
    return worker


def test_pods_that_a_limit_range_would_refuse(api: Api, namespace: str, kube_module: Any) -> None:
    apply(kube_module, limit_range(namespace))
    refused = with_cpu(namespace, "300m", "800m")
    for check in (True, False):
        result = apply(kube_module, refused, check=check)
        assert result["failed"]
        assert "cpu max limit to request ratio per Container is 2, but provided ratio is 2.666667" in result["msg"]
        assert "worker was not applied" in result["msg"]
    assert api.get(ObjectRef.of(refused)) is None
    assert apply(kube_module, with_cpu(namespace, "400m", "800m"))["changed"]


def test_pods_that_a_planned_limit_range_would_refuse(namespace: str, kube_module: Any) -> None:
    objects = (limit_range(namespace), with_cpu(namespace, "300m", "800m"))
    # The rule is not there yet, so in check mode the server cannot speak for it.
    assert apply(kube_module, *objects, check=True)["changed"]
    result = apply(kube_module, *objects)
    assert result["failed"]
    assert [entry["action"] for entry in result["objects"]] == ["created", "failed"]


def test_pods_that_pod_security_would_refuse(api: Api, namespace: str, kube_module: Any) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.patch(ObjectRef("v1", "Namespace", namespace), label)
    result = apply(kube_module, deployment(namespace))
    assert result["failed"]
    assert 'violates PodSecurity "restricted' in result["msg"]


def test_pods_without_their_service_account(namespace: str, kube_module: Any) -> None:
    worker = deployment(namespace)
    worker["spec"]["template"]["spec"]["serviceAccountName"] = "nobody"
    result = apply(kube_module, worker)
    assert result["failed"]
    assert 'serviceaccount "nobody" not found' in result["msg"]


def test_pods_beyond_the_quota(api: Api, namespace: str, kube_module: Any) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": namespace},
        "spec": {"hard": {"requests.memory": "256Mi"}},
    }
    apply(kube_module, quota)
    # A controller would have filled in the status, which is what the API server goes by.
    status = {"hard": quota["spec"]["hard"], "used": {"requests.memory": "0"}}
    api.patch(ObjectRef.of(quota), {"status": status}, subresource="status")
    result = apply(kube_module, deployment(namespace))
    assert result["failed"]
    assert "exceeded quota: quota, requested: requests.memory=512Mi" in result["msg"]


# Rolling pods when their configuration changes


def stamp(api: Api, obj: Json) -> str:
    return str(live(api, obj)["spec"]["template"]["metadata"].get("annotations", {}).get(HASH))


def test_changed_configuration_rolls_its_readers_only(api: Api, namespace: str, kube_module: Any) -> None:
    worker, other = deployment(namespace), deployment(namespace)
    other["metadata"]["name"] = "other"
    other["spec"]["template"]["spec"]["containers"][0]["envFrom"] = []
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "app-secrets", "namespace": namespace},
        "stringData": {"password": "a", "unused": "b"},
    }
    config = config_map(namespace, A="1")
    apply(kube_module, worker, other, secret, config)
    first = stamp(api, worker), stamp(api, other)

    secret["stringData"]["unused"] = "c"
    found = actions(apply(kube_module, worker, other, secret, config))
    assert found["Secret app-secrets"] == "configured"
    assert (stamp(api, worker), stamp(api, other)) == first

    config["data"]["A"] = "2"
    planned = actions(apply(kube_module, worker, other, secret, config, check=True))
    assert planned == actions(apply(kube_module, worker, other, secret, config))
    assert (planned["Deployment worker"], planned["Deployment other"]) == ("configured", "unchanged")
    assert stamp(api, worker) != first[0]

    # A key that another manager holds counts, though the set does not speak of it.
    api.apply(config_map(namespace, BROKER="redis-1"), field_manager="celeryops-redis-master")
    assert actions(apply(kube_module, worker, other, secret, config)) == {
        "ConfigMap app-config": "unchanged",
        "Secret app-secrets": "unchanged",
        "Deployment worker": "configured",
        "Deployment other": "unchanged",
    }
    secret["stringData"] |= {"password": "d"}
    found = actions(apply(kube_module, worker, other, secret, config))
    assert (found["Deployment worker"], found["Deployment other"]) == ("configured", "configured")


def test_without_rollout_no_annotation_is_set(api: Api, namespace: str, kube_module: Any) -> None:
    worker = deployment(namespace)
    apply(kube_module, worker, config_rollout=False)
    assert stamp(api, worker) == "None"
