# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of the full cluster with a Redis of its own, made by the roles namespace and redis."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module
from helpers.plays import run_roles
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["Place", "images_of_the_platform"]


@dataclass(frozen=True)
class Place:
    """The namespace with its own Redis."""

    api: Api
    namespace: str
    folder: Path
    image: str
    proxy_image: str

    @property
    def kubeconfig(self) -> str:
        return os.environ["KUBECONFIG"]

    def play(self, *options: str, **variables: Any) -> tuple[int, dict[str, int], str]:
        """Runs both roles; the exit status, the play's counts, and the output."""
        small = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}}
        images = {"redis_image": self.image, "redis_proxy_image": self.proxy_image}
        given = {"platform_namespace": self.namespace, "redis_resources": small, **images, **variables}
        return run_roles(self.folder, ["celeryops.platform.namespace", "celeryops.platform.redis"], given, *options)

    def module(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"kubeconfig": self.kubeconfig, "namespace": self.namespace, **arguments}
        return run_module(name, given, check=check, diff=True)

    def redis(self, pod: str, *command: str) -> str:
        text = 'redis-cli ${REDIS_TLS:+--tls --cacert "$REDIS_TLS/ca.crt"} "$@"'
        done = exec_in_pod(self.api, self.namespace, pod, ["sh", "-c", text, "redis-cli", *command], timeout=30)
        assert done.rc == 0, done.stderr
        return done.stdout.strip()

    @property
    def master(self) -> str:
        """The pod that is the master, once everybody agrees on it."""
        wait_until(lambda: self.module("redis_master_info")["verdict"] == "healthy", "a master that all agree on")
        return str(self.module("redis_master_info")["master"]["pod"])

    def kill(self, pod: str) -> None:
        """Ends the server's process, as the kernel would; the container goes with it."""
        find = 'for p in /proc/[0-9]*; do read -r n <$p/comm; if [ "$n" = redis-server ]; then '
        script = find + "kill -9 ${p#/proc/}; fi; done"
        with contextlib.suppress(KubeError):
            exec_in_pod(self.api, self.namespace, pod, ["sh", "-c", script], timeout=30)

    def life(self, pod: str) -> tuple[str, int]:
        """Changes when the pod or its container is another one, and runs."""
        found = self.api.get(ObjectRef("v1", "Pod", pod, self.namespace)) or {}
        statuses = (found.get("status") or {}).get("containerStatuses") or [{}]
        if "running" not in (statuses[0].get("state") or {}):
            return "", 0
        return str(found["metadata"]["uid"]), int(statuses[0]["restartCount"])

    def settled(self) -> dict[str, Any]:
        """A run of the roles that has nothing to change; what the cluster says of itself afterwards."""
        for options in (("--check",), ()):
            status, counts, output = self.play(*options)
            assert status == 0, output
            assert counts["changed"] == 0, output
        return self.module("redis_master_info")

    def config_map(self, name: str, **data: str) -> ObjectRef:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        self.api.create(body, field_manager="somebody")
        return ObjectRef("v1", "ConfigMap", name, self.namespace)

    def data(self, ref: ObjectRef) -> dict[str, str]:
        found = self.api.get(ref)
        assert found is not None
        return dict(found["data"])


def images_of_the_platform(api: Api) -> tuple[str, str]:
    """Those of Redis and of the proxy, which are on the nodes already."""
    return _image(api, "StatefulSet", "redis"), _image(api, "Deployment", "redis-proxy")


def _image(api: Api, kind: str, name: str) -> str:
    for workload in api.list("apps/v1", kind):
        if workload["metadata"]["name"] == name:
            return str(workload["spec"]["template"]["spec"]["containers"][0]["image"])
    pytest.fail(f"no {kind} named {name} in the cluster: bring the platform up first")
