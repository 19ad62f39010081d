# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container may be asked in the place of a pod of one's own: only one whose environment is up to date."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat import argspec
from ansible_collections.celeryops.platform.plugins.module_utils._beat.neighbour import Neighbour, find
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

Run = Callable[..., dict[str, Any]]
IMAGE = "localhost/shop:1"


@pytest.fixture
def params(namespace: str) -> dict[str, Any]:
    defaults = {name: option.get("default") for name, option in argspec.APP_ARGS.items()}
    return {**defaults, "namespace": namespace, "image": IMAGE, "config_maps": ["app-config"]}


@pytest.fixture
def run_as_pod(api: Api, namespace: str, kube_module: Run) -> Callable[..., None]:
    """Applies a ConfigMap and a Deployment, and makes the pod that its controllers and a kubelet would have made."""

    def make(data: dict[str, str], **container: Any) -> None:
        one = {"name": "worker", "image": IMAGE, "envFrom": [{"configMapRef": {"name": "app-config"}}], **container}
        labels = {"app": "worker"}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}}}
        worker: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "worker"}, "spec": spec}
        worker["spec"]["template"]["spec"] = {"automountServiceAccountToken": False, "containers": [one]}
        config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app-config"}, "data": data}
        args = {"namespace": namespace, "definitions": [config, worker], "wait": False}
        assert kube_module("manifests", args)["changed"]
        made = api.get(ObjectRef("apps/v1", "Deployment", "worker", namespace))
        assert made is not None
        template = made["spec"]["template"]
        metadata = {**template["metadata"], "name": "worker-1", "namespace": namespace}
        pod = api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
        status = {"name": "worker", "ready": True, "restartCount": 0, "image": IMAGE, "imageID": ""}
        api.patch(ObjectRef.of(pod), {"status": {"containerStatuses": [status]}}, subresource="status")

    return make


def test_nobody_is_there(api: Api, params: dict[str, Any]) -> None:
    assert find(api, params) is None


def test_a_container_with_the_same_environment(api: Api, params: dict[str, Any], run_as_pod: Any) -> None:
    run_as_pod({"A": "1"}, env=[{"name": "PYTHONPATH", "value": "/opt"}])
    assert find(api, params) == Neighbour("worker-1", "worker", ("PYTHONPATH",))


def test_a_container_started_before_the_configuration_changed(
    api: Api, params: dict[str, Any], run_as_pod: Any, namespace: str
) -> None:
    run_as_pod({"A": "1"})
    config = ObjectRef("v1", "ConfigMap", "app-config", namespace)
    api.patch(config, {"data": {"A": "2"}})
    assert find(api, params) is None
    api.patch(config, {"data": {"A": "1"}})
    assert find(api, params) == Neighbour("worker-1", "worker", ())


def test_a_container_that_overrides_the_configuration(api: Api, params: dict[str, Any], run_as_pod: Any) -> None:
    run_as_pod({"A": "1"}, env=[{"name": "A", "value": "2"}])
    assert find(api, params) is None


def test_a_container_whose_rollout_nobody_vouches_for(
    api: Api, params: dict[str, Any], run_as_pod: Any, namespace: str
) -> None:
    run_as_pod({"A": "1"})
    pod = ObjectRef("v1", "Pod", "worker-1", namespace)
    api.patch(pod, {"metadata": {"annotations": None}})
    assert find(api, params) is None
