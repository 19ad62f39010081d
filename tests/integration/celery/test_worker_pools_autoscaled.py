# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose the replicas of a pool are, by the role: its autoscaler's while it has one, and the role's again afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_worker_pools import play

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for

pytestmark = pytest.mark.slow

NAME = "celery-worker"


@pytest.fixture(scope="module")
def metrics_api(api: Api) -> Iterator[None]:
    """The API group is served, if by nothing but a definition: the check of the settings asks for no more."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "pods.metrics.k8s.io",
            # Names below k8s.io are protected.
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "metrics.k8s.io",
            "scope": "Namespaced",
            "names": {"plural": "pods", "singular": "pod", "kind": "PodMetrics"},
            "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    made = api.create(definition)
    wait_for(api, [made], 60)
    yield
    api.delete(ObjectRef.of(made))


def deployment(namespace: str) -> ObjectRef:
    return ObjectRef("apps/v1", "Deployment", NAME, namespace)


def test_replicas_are_given_away_and_taken_back_without_a_dip(
    tmp_path: Path, api_server: Any, api: Api, namespace: str, metrics_api: None
) -> None:
    """Every number that the pool is given on the way is looked at. This server has no controllers, so waiting ends
    each play; what was applied stands."""

    def run(**pool: Any) -> tuple[int, int]:
        """Replicas afterwards, and how often the Deployment's specification has been changed."""
        given = {"celery_worker_pools": [{"name": "default", **pool}], "celery_worker_wait_timeout": 1}
        _status, _results, printed = play(tmp_path, Path(api_server.kubeconfig), namespace, given, check=False)
        assert "contradiction" not in printed
        found = api.get(deployment(namespace))
        assert found is not None, printed
        return found["spec"]["replicas"], found["metadata"]["generation"]

    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    start = str(api.request("GET", path)["metadata"]["resourceVersion"])
    # A new pool starts at its minimum, which is what it was sized for.
    assert run(autoscale={"max": 6}) == (3, 1)
    # As the controller of autoscalers does.
    scale = {"spec": {"replicas": 5}}
    api.patch(deployment(namespace), scale, subresource="scale", field_manager="kube-controller-manager")
    assert run(autoscale={"max": 6}) == (5, 2)
    # Not even another configuration of the pool takes them back, nor another minimum.
    assert run(autoscale={"min": 2, "max": 6}, concurrency=2) == (5, 3)
    # Without autoscaling the pool has its own number again.
    assert run(concurrency=2) == (3, 4)
    assert api.get(ObjectRef("autoscaling/v2", "HorizontalPodAutoscaler", NAME, namespace)) is None
    # And once more, now for a pool that has been there without.
    assert run(autoscale={"min": 1, "max": 6}, concurrency=2) == (3, 4)
    assert _numbers(api, namespace, start) == {3, 5}


def _numbers(api: Api, namespace: str, start: str) -> set[int]:
    """Every number of replicas since then."""
    last = api.patch(deployment(namespace), {"metadata": {"annotations": {"end": "1"}}})["metadata"]["resourceVersion"]
    seen = set()
    for _type, found in api.watch("apps/v1", "Deployment", namespace, resource_version=start, timeout=30):
        seen.add(int(found["spec"]["replicas"]))
        if found["metadata"]["resourceVersion"] == last:
            break
    return seen
