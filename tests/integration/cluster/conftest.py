# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of its own on the full cluster, and pods that run a shell."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.manifests import SMALL
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for


@pytest.fixture(scope="module")
def shell_image(cluster: Api) -> str:
    """An image that every node has and that holds a shell: the one of the node's own kube-proxy."""
    proxy = cluster.get(ObjectRef("apps/v1", "DaemonSet", "kube-proxy", "kube-system"))
    assert proxy is not None
    return str(proxy["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def place(cluster: Api) -> Iterator[str]:
    """A namespace with its service account; removed, and gone, afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    args = {"definitions": [space], "kubeconfig": os.environ["KUBECONFIG"]}
    assert run_module("manifests", args)["changed"]
    for _event, account in cluster.watch("v1", "ServiceAccount", name, timeout=30):
        if account["metadata"]["name"] == "default":
            break
    yield name
    assert run_module("manifests", {**args, "state": "absent", "wait_timeout": 120})["changed"]


@pytest.fixture
def pod(place: str, shell_image: str) -> Callable[..., Json]:
    """A pod that runs a script in a shell."""

    def make(name: str, script: str, **container: Any) -> Json:
        one = {"name": "c", "image": shell_image, "command": ["sh", "-c", script], "resources": SMALL, **container}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": place},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [one]},
        }

    return make


@pytest.fixture(scope="module")
def sleeper(cluster: Api, place: str, shell_image: str) -> str:
    """The name of a pod that runs as long as the tests."""
    container = {"name": "c", "image": shell_image, "command": ["sleep", "3600"], "resources": SMALL}
    made = cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "sleeper", "namespace": place},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }
    )
    wait_for(cluster, [made], 60)
    return "sleeper"
