# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace of its own on the full cluster, with a Redis, in which the example without Django runs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["DEADLINE", "PYTHON", "Place", "image", "opened"]

PYTHON = "/srv/venv/bin/python"
# Sends one task to each queue and reads each result.
SEND = """
import json
from quotes import tasks
sent = {name: getattr(tasks, name).delay(%s) for name in %r}
print("RESULTS " + json.dumps({name: result.get(timeout=%d) for name, result in sent.items()}))
"""
DEADLINE = 180


def image(cluster: Api, name: str) -> str:
    """The reference under which the nodes hold an image of the platform."""
    for node in cluster.list("v1", "Node"):
        for entry in node["status"]["images"]:
            for reference in entry.get("names", []):
                if f"/celeryops/{name}:" in reference:
                    return str(reference)
    return pytest.fail(f"no node has the image {name}; the platform's inventory lists it in images_import")


def redis_objects(namespace: str, reference: str) -> list[dict[str, Any]]:
    resources = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
    container = {
        "name": "redis",
        "image": reference,
        "command": ["redis-server", "--save", "", "--protected-mode", "no", "--dir", "/tmp"],  # noqa: S108
        "resources": resources,
        "readinessProbe": {"tcpSocket": {"port": 6379}, "periodSeconds": 1},
        "securityContext": {"runAsUser": 999},
    }
    labels = {"app": "redis"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    url = f"redis://redis.{namespace}.svc:6379/0"
    config = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "ratio"},
            "spec": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "2", "memory": "2"}}]},
        },
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "quotes-config"}, "data": config},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "redis"},
            "spec": {"selector": labels, "ports": [{"port": 6379}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "redis"},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": template},
        },
    ]


@dataclass(frozen=True)
class Place:
    """A namespace in which the example runs."""

    cluster: Api
    namespace: str
    image: str
    folder: Path

    def play(self, *arguments: str, playbook: str | Path = "examples/quotes/workers.yml") -> str:
        """Runs the example's playbook, or another one with its variables; what it printed."""
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "--inventory=localhost,",
                "--connection=local",
                f"--extra-vars=quotes_namespace={self.namespace} quotes_image={self.image}",
                f"--extra-vars=ansible_python_interpreter={sys.executable}",
                *arguments,
                playbook,
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def pods(self) -> list[dict[str, Any]]:
        selector = "component=celery-worker"
        found = self.cluster.list("v1", "Pod", self.namespace, label_selector=selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def send(self, *names: str, hold: float = 0, within: int = DEADLINE) -> dict[str, Any]:
        """The results of these tasks, sent from the default pool."""
        pod = next(pod for pod in self.pods() if pod["metadata"]["labels"]["pool"] == "default")
        code = SEND % (hold, names, within)
        name = pod["metadata"]["name"]
        done = exec_in_pod(
            self.cluster, self.namespace, name, [PYTHON, "-c", code], container="worker", timeout=within + 60
        )
        assert done.rc == 0, done.stderr[-2000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith("RESULTS "))
        results: dict[str, Any] = json.loads(line.removeprefix("RESULTS "))
        return results


@contextlib.contextmanager
def opened(cluster: Api, name: str, folder: Path) -> Iterator[Place]:
    """A fresh place that is removed afterwards. The images of Redis and of the example must be on the nodes."""
    namespace = f"{name}-{uuid.uuid4().hex[:6]}"
    found = Place(cluster, namespace, image(cluster, "quotes"), folder)
    objects = redis_objects(namespace, image(cluster, "redis"))
    try:
        made = run_module("manifests", {"definitions": objects, "namespace": namespace, "wait_timeout": DEADLINE})
        assert not made.get("failed"), made
        yield found
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", namespace))
