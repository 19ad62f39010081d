# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector against a real API server on which no pod runs: what it reads, leaves out, and cannot have."""

from __future__ import annotations

import base64
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

PASSWORD = "p@ss/word:#1"  # noqa: S105 - of this test; its characters need quoting
WORKER = {
    "name": "worker",
    "image": "shop:1",
    "args": ["celery", "-A", "shop", "worker"],
    "envFrom": [{"configMapRef": {"name": "app-config"}}, {"secretRef": {"name": "app-secrets"}}],
    "env": [{"name": "API_TOKEN", "value": "literal-secret"}, {"name": "PLAIN", "value": "shown"}],
}
CRASHED = {
    "phase": "Running",
    "conditions": [{"type": "Ready", "status": "False"}],
    "containerStatuses": [
        {
            "name": "worker",
            "image": "shop:1",
            "imageID": "",
            "ready": False,
            "restartCount": 4,
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }
    ],
}


def make(api: Api, namespace: str, kind: str, version: str, name: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, **rest.pop("metadata", {})}
    return api.create({"apiVersion": version, "kind": kind, "metadata": metadata, **rest})


@pytest.fixture
def shop(api: Api, namespace: str) -> str:
    """Workers that the kernel kills; there is no kubelet, so their state is written as one would."""
    labels = {"app": "worker"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [WORKER]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    deployment = make(api, namespace, "Deployment", "apps/v1", "workers", spec=spec)
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "workers", "uid": deployment["metadata"]["uid"]}
    replica_set = make(
        api, namespace, "ReplicaSet", "apps/v1", "workers-1", spec=spec, metadata={"ownerReferences": [owner]}
    )
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "workers-1", "uid": replica_set["metadata"]["uid"]}
    make(
        api,
        namespace,
        "Pod",
        "v1",
        "workers-1-a",
        spec={"containers": [WORKER], "nodeName": "nowhere"},
        metadata={"ownerReferences": [owner], "labels": labels},
    )
    api.patch(ObjectRef("v1", "Pod", "workers-1-a", namespace), {"status": CRASHED}, subresource="status")
    data = {"CELERY_BROKER_URL": f"redis://:{PASSWORD}@redis.{namespace}:6379/0", "SENTRY_DSN": "changeme"}
    make(api, namespace, "ConfigMap", "v1", "app-config", data=data)
    make(api, namespace, "ConfigMap", "v1", "somebody-elses", data={"page": "private"})
    secret = {"DJANGO_SECRET_KEY": "k" * 20, "PASSWORD": PASSWORD}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in secret.items()}
    make(api, namespace, "Secret", "v1", "app-secrets", data=encoded)
    return namespace


def test_what_cannot_be_had_hides_nothing(kube_module: Callable[..., Any], shop: str, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    result = kube_module("celery_doctor", {"namespace": shop, "snapshot_path": str(path)})
    assert [one["cause"] for one in result["findings"]] == ["memory-main", "secret-key", "sentry-dsn"]
    assert result["findings"][0]["explains"] == ["pod/workers-1-a"]
    could_not = {one["what"]: one["because"] for one in result["could_not_look"]}
    assert any(what.startswith("log of pod/workers-1-a") for what in could_not)
    assert could_not["database"] == "no container of Celery runs that could be entered"
    assert could_not["broker"].startswith("no container of Celery runs, nor a pod of Redis")
    assert result["changed"] is False


def test_the_file_has_no_secret_and_replays_the_same(
    kube_module: Callable[..., Any], shop: str, tmp_path: Path
) -> None:
    path = tmp_path / "case.json"
    live = kube_module("celery_doctor", {"namespace": shop, "snapshot_path": str(path)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text(encoding="utf-8")
    assert not [word for word in (PASSWORD, "k" * 20, "literal-secret", "private", "managedFields") if word in text]
    assert json.loads(text)["objects"]["Deployment"][0]["spec"]["template"]["spec"]["containers"][0]["env"][1] == {
        "name": "PLAIN",
        "value": "shown",
    }
    replayed = kube_module("celery_doctor", {"replay_path": str(path)})
    assert replayed["findings"] == live["findings"]
    assert replayed["could_not_look"] == live["could_not_look"]


def test_check_mode_saves_nothing(kube_module: Callable[..., Any], shop: str, tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    result = kube_module("celery_doctor", {"namespace": shop, "snapshot_path": str(path)}, check=True)
    assert result["findings"]
    assert not path.exists()


def test_a_namespace_with_nothing_in_it(kube_module: Callable[..., Any], namespace: str) -> None:
    result = kube_module("celery_doctor", {"namespace": namespace})
    assert [one["cause"] for one in result["findings"]] == ["nothing-deployed"]
    named = kube_module("celery_doctor", {"namespace": namespace, "workers": ["mine"]})
    assert named["findings"][0]["title"] == "There is no Deployment mine"


def test_a_file_that_cannot_be_written_is_told(kube_module: Callable[..., Any], namespace: str, tmp_path: Path) -> None:
    result = kube_module("celery_doctor", {"namespace": namespace, "snapshot_path": str(tmp_path / "no/such/place")})
    assert result["failed"] is True
    assert "snapshot_path" in result["msg"]
