# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the integration tests: an API server of their own, and a namespace for every test."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from helpers.apiserver import ApiServer, running_api_server
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef, connect

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real kube-apiserver and etcd; without the binaries the tests fail and say what to run."""
    with running_api_server(tmp_path_factory.mktemp("apiserver")) as server:
        yield server


@pytest.fixture(scope="session")
def api(api_server: ApiServer) -> Api:
    return connect({"kubeconfig": str(api_server.kubeconfig), "retry_timeout": 10})


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A fresh namespace with the service account that a controller would have made."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    for kind, metadata in (
        ("Namespace", {"name": name}),
        ("ServiceAccount", {"name": "default", "namespace": name}),
    ):
        api.create({"apiVersion": "v1", "kind": kind, "metadata": metadata})
    yield name
    api.delete(ObjectRef("v1", "Namespace", name))


@pytest.fixture
def kube_module(api_server: ApiServer) -> Run:
    """run_module with the kubeconfig of the test's own API server."""

    def run(name: str, args: dict[str, Any], **options: Any) -> dict[str, Any]:
        return run_module(name, {"kubeconfig": str(api_server.kubeconfig), **args}, **options)

    return run


@pytest.fixture(scope="session")
def cluster() -> Api:
    """The full cluster that KUBECONFIG names, for tests marked `cluster`."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail("tests marked `cluster` need KUBECONFIG; `make test` sets it, or use the one of `make site`")
    return connect({"retry_timeout": 10})
