# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A changed ConfigMap or Secret rolls exactly the pods that read it, on the full cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.modules import ROOT, run_module
from quotes_place import PYTHON, Place, opened

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

EVERYTHING = {"default", "press", "celery-beat", "bystander", "redis"}
POOLS = [
    {"name": "default", "queues": ["desk", "post", "feeds", "hooks"]},
    {
        "name": "press",
        "queues": ["press"],
        "env": [{"name": "PRESS_KEY", "valueFrom": {"secretKeyRef": {"name": "press-secret", "key": "key"}}}],
    },
]


def playbook(folder: Path) -> Path:
    """Workers and a beat that keeps its schedule in memory, with the variables of the example."""
    (play,) = yaml.safe_load((ROOT / "examples/quotes/workers.yml").read_text())
    play["vars"].update(
        celery_worker_pools=POOLS,
        celery_beat_executable=["/srv/venv/bin/celery"],
        celery_beat_scheduler="celery.beat:Scheduler",
        celery_beat_resources={
            "requests": {"cpu": "50m", "memory": "96Mi"},
            "limits": {"cpu": "100m", "memory": "192Mi"},
        },
    )
    play["roles"].append("celeryops.platform.celery_beat")
    path = folder / "workers_and_beat.yml"
    path.write_text(yaml.safe_dump([play]))
    return path


def definition(kind: str, name: str, value: str) -> dict[str, Any]:
    field = "stringData" if kind == "Secret" else "data"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: {"key": value}}


def bystander(image: str) -> dict[str, Any]:
    """A workload of the same namespace and image that reads a ConfigMap of its own."""
    labels = {"app": "bystander"}
    container = {
        "name": "bystander",
        "image": image,
        "command": [PYTHON, "-c", "import time; time.sleep(36000)"],
        "envFrom": [{"configMapRef": {"name": "bystander-config"}}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "20m", "memory": "64Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "bystander"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
            },
        },
    }


class Scene:
    """The place with everything in it, and whose pods are new."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.playbook = playbook(place.folder)
        self.pods: dict[str, set[str]] = {}

    def run(self) -> set[str]:
        """The play and the bystander's own task; returns the workloads whose pods were replaced."""
        self.place.play(playbook=self.playbook)
        self.apply(bystander(self.place.image))
        before, self.pods = self.pods, self._pods()
        return {name for name, uids in self.pods.items() if uids != before.get(name)}

    def apply(self, *objects: dict[str, Any]) -> None:
        args = {"definitions": list(objects), "namespace": self.place.namespace, "wait_timeout": 180}
        result = run_module("manifests", args)
        assert not result.get("failed"), result

    def _pods(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for pod in self.place.cluster.list("v1", "Pod", self.place.namespace):
            labels = pod["metadata"]["labels"]
            if "deletionTimestamp" not in pod["metadata"]:
                name = labels.get("pool") or labels.get("component") or labels["app"]
                found.setdefault(name, set()).add(pod["metadata"]["uid"])
        return found


@pytest.fixture(scope="module")
def scene(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with opened(cluster, "roll", tmp_path_factory.mktemp("roll")) as place:
        found = Scene(place)
        found.apply(definition("Secret", "press-secret", "1"), definition("ConfigMap", "bystander-config", "1"))
        assert found.run() == EVERYTHING
        yield found


def test_nothing_changed_and_nothing_rolls(scene: Scene) -> None:
    assert scene.run() == set()


@pytest.mark.parametrize(
    ("kind", "name", "readers"),
    [
        ("Secret", "press-secret", {"press"}),
        ("ConfigMap", "quotes-config", {"default", "press", "celery-beat"}),
        ("ConfigMap", "bystander-config", {"bystander"}),
        ("ConfigMap", "nobodys-config", set()),
    ],
)
def test_exactly_the_readers_roll(scene: Scene, kind: str, name: str, readers: set[str]) -> None:
    if name == "quotes-config":
        # Further keys: the broker's URL stays.
        ref = ObjectRef("v1", kind, name, scene.place.namespace)
        scene.place.cluster.patch(ref, {"data": {"key": "2"}})
    else:
        scene.apply(definition(kind, name, "2"))
    assert scene.run() == readers
    assert scene.run() == set()


def test_what_rolled_has_the_new_value(scene: Scene) -> None:
    scene.apply(definition("Secret", "press-secret", "3"))
    assert scene.run() == {"press"}
    (pod,) = [pod for pod in scene.place.pods() if pod["metadata"]["labels"]["pool"] == "press"]
    done = exec_in_pod(
        scene.place.cluster,
        scene.place.namespace,
        pod["metadata"]["name"],
        [PYTHON, "-c", "import os; print(os.environ['PRESS_KEY'])"],
        container="worker",
        timeout=60,
    )
    assert done.stdout == "3\n"
