# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beats that stand by for each other on the full cluster: role celery_beat's own, with the times that are its default.

The image is the platform's, the application another one, without Django, in a namespace and with a Redis of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.beats import twice
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import acting
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

# Beside nothing else that restarts things: it is about who sends while pods come and go.
pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

KILLS = 3
DEADLINE = 240
SMALL = {"requests": {"cpu": "100m", "memory": "96Mi"}, "limits": {"cpu": "200m", "memory": "192Mi"}}
NAME = "celery-beat"
APP = """\
import os
from celery import Celery
app = Celery("turns", broker=os.environ["CELERY_BROKER_URL"])
app.conf.broker_transport_options = {"socket_timeout": 5, "socket_connect_timeout": 5}
app.conf.beat_schedule = {"often": {"task": "turns.nothing", "schedule": 1.0}}

@app.task
def nothing():
    pass
"""
# Process 1 of the container may be an init that stays; what it started is Celery's main process.
SIGNAL = """
import os, re, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/cmdline") as file:
        words = file.read().split(chr(0))
    if int(pid) not in (1, os.getpid()) and "beat" in words:
        os.kill(int(pid), int(sys.argv[1]))
"""


def image(cluster: Api, name: str) -> str:
    """The reference under which the nodes hold an image of the platform."""
    for node in cluster.list("v1", "Node"):
        for entry in node["status"]["images"]:
            for reference in entry.get("names", []):
                if f"/celeryops/{name}:" in reference:
                    return str(reference)
    return pytest.fail(f"no node has the image {name}")


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
    config = {"CELERY_BROKER_URL": f"redis://redis.{namespace}.svc:6379/0"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": config},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"}, "data": {"turns.py": APP}},
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
    """A namespace in which beats run, and the play that brings them there."""

    cluster: Api
    namespace: str
    image: str
    folder: Path

    def play(self, **variables: Any) -> str:
        given = {
            "celery_app_namespace": self.namespace,
            "platform_namespace": self.namespace,
            "celery_app_image": self.image,
            "celery_app_name": "turns",
            "celery_app_config_maps": ["config"],
            "celery_app_secrets": [],
            "celery_app_env": [],
            "celery_app_pod_security_context": {"runAsNonRoot": True, "runAsUser": 1000},
            "celery_app_security_context": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "celery_pod_broker_password": "",
            "celery_pod_database": {},
            "celery_pod_stagger_mode": "none",
            "celery_pod_python_path": ["/code"],
            "celery_beat_scheduler": "celery.beat:PersistentScheduler",
            "celery_beat_schedule_file": "/run/celeryops/schedule",
            "celery_beat_volumes": [{"name": "code", "configMap": {"name": "code"}}],
            "celery_beat_volume_mounts": [{"name": "code", "mountPath": "/code"}],
            "celery_pod_init_resources": SMALL,
            "celery_beat_resources": SMALL,
            "celery_beat_startup_probe": {"periodSeconds": 2, "timeoutSeconds": 10, "failureThreshold": 90},
            "celery_beat_readiness_probe": {"periodSeconds": 2, "timeoutSeconds": 10, "failureThreshold": 3},
            **variables,
        }
        (self.folder / "vars.json").write_text(json.dumps(given))
        roles = ["celeryops.platform.celery_pod", "celeryops.platform.celery_beat"]
        play = [{"hosts": "localhost", "gather_facts": False, "roles": roles}]
        (self.folder / "play.yml").write_text(yaml.safe_dump(play))
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "--inventory=localhost,",
                "--connection=local",
                f"--extra-vars=ansible_python_interpreter={sys.executable}",
                f"--extra-vars=@{self.folder / 'vars.json'}",
                self.folder / "play.yml",
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        return done.stdout

    def pods(self) -> list[dict[str, Any]]:
        return self.cluster.list("v1", "Pod", self.namespace, label_selector="component=celery-beat")

    def get(self, api_version: str, kind: str) -> dict[str, Any] | None:
        return self.cluster.get(ObjectRef(api_version, kind, NAME, self.namespace))

    def holder(self) -> str | None:
        """The pod that acts, if it is there."""
        return acting(self.get("coordination.k8s.io/v1", "Lease"), self.pods())

    def standby(self) -> str | None:
        """A pod that is ready and does not act."""
        for pod in self.pods():
            ready = [one for one in pod["status"].get("conditions", []) if one["type"] == "Ready"]
            name = str(pod["metadata"]["name"])
            there = "deletionTimestamp" not in pod["metadata"]
            if there and name != self.holder() and any(one["status"] == "True" for one in ready):
                return name
        return None

    def signal(self, pod: str, number: int) -> None:
        done = exec_in_pod(
            self.cluster, self.namespace, pod, ["python", "-c", SIGNAL, str(number)], container="beat", timeout=30
        )
        assert done.rc in (0, 137), done.stderr

    def messages(self) -> list[tuple[str, str]]:
        """(entry, due time) of every message that beats have sent here."""
        pod = next(
            pod["metadata"]["name"]
            for pod in self.cluster.list("v1", "Pod", self.namespace, label_selector="app=redis")
        )
        done = exec_in_pod(
            self.cluster,
            self.namespace,
            pod,
            ["redis-cli", "lrange", "celery", "0", "-1"],
            container="redis",
            timeout=30,
        )
        headers = [json.loads(line)["headers"] for line in done.stdout.splitlines() if line]
        return [(one["periodic_task_name"], one["celeryops_due"]) for one in headers]

    def wait_for(self, ready: Any, what: str) -> Any:
        end = time.monotonic() + DEADLINE
        while not (found := ready()):
            assert time.monotonic() < end, f"{what}: not within {DEADLINE} s"
            time.sleep(0.2)
        return found


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    namespace = f"beats-{uuid.uuid4().hex[:6]}"
    found = Place(cluster, namespace, image(cluster, "app"), tmp_path_factory.mktemp("beats"))
    space, *objects = redis_objects(namespace, image(cluster, "redis"))
    try:
        cluster.create(space)
        for _event, account in cluster.watch("v1", "ServiceAccount", namespace, timeout=60):
            if account["metadata"]["name"] == "default":
                break
        made = run_module("manifests", {"definitions": objects, "namespace": namespace, "wait_timeout": DEADLINE})
        assert not made.get("failed"), made
        found.play(celery_beat_replicas=2)
        yield found
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", namespace))


def takes_over(place: Place, before: str) -> float:
    """Waits until another pod than this one has sent something; in seconds."""
    began = time.monotonic()
    place.wait_for(lambda: place.holder() not in (None, before), "another beat")
    sent = len(place.messages())
    place.wait_for(lambda: len(place.messages()) > sent, "a task from it")
    return time.monotonic() - began


def test_one_of_two_acts_and_a_second_run_changes_nothing(place: Place) -> None:
    holder = place.wait_for(place.holder, "a beat that acts")
    assert place.wait_for(place.standby, "a standby") != holder
    place.wait_for(place.messages, "a task")
    assert "changed=0 " in place.play(celery_beat_replicas=2)
    nodes = {pod["spec"]["nodeName"] for pod in place.pods()}
    assert len(nodes) > 1


def test_another_one_takes_over_after_a_kill(place: Place) -> None:
    seconds = []
    for _ in range(KILLS):
        holder = place.wait_for(place.holder, "a beat that acts")
        place.wait_for(place.standby, "a standby")
        place.signal(holder, 9)
        seconds.append(takes_over(place, holder))
    print("takeovers after SIGKILL, in seconds:", *(f"{one:.1f}" for one in sorted(seconds)))
    assert twice(place.messages()) == {}


def test_a_stopped_one_wakes_up_and_stands_by(place: Place) -> None:
    holder = place.wait_for(place.holder, "a beat that acts")
    place.wait_for(place.standby, "a standby")
    place.signal(holder, 19)
    takes_over(place, holder)
    place.signal(holder, 18)
    says = ["cat", "/run/celeryops/ready"]

    def stands_by() -> bool:
        done = exec_in_pod(place.cluster, place.namespace, holder, says, container="beat", timeout=30)
        return "standing by" in done.stdout

    place.wait_for(stands_by, "a standby again")
    assert twice(place.messages()) == {}


def test_an_update_hands_over(place: Place) -> None:
    before = {pod["metadata"]["name"] for pod in place.pods()}
    place.play(celery_beat_replicas=2, celery_beat_log_level="warning")
    holder = place.wait_for(place.holder, "a beat that acts")
    assert holder not in before
    sent = len(place.messages())
    place.wait_for(lambda: len(place.messages()) > sent, "a task from the new ones")
    assert twice(place.messages()) == {}


def test_back_to_one_that_is_recreated(place: Place) -> None:
    """What belongs to an election goes with it."""
    place.play(celery_beat_replicas=1)
    deployment = place.get("apps/v1", "Deployment")
    assert deployment is not None
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    for api_version, kind in (
        ("coordination.k8s.io/v1", "Lease"),
        ("rbac.authorization.k8s.io/v1", "Role"),
        ("policy/v1", "PodDisruptionBudget"),
        ("v1", "ServiceAccount"),
    ):
        assert place.get(api_version, kind) is None, kind
    sent = len(place.messages())
    place.wait_for(lambda: len(place.messages()) > sent, "a task from the one")
    assert twice(place.messages()) == {}
