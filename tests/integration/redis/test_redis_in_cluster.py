# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles namespace and redis and both modules on the full cluster, in a namespace of their own.

The image is the one that the platform's own Redis runs with, so that it is on the nodes already.
"""

from __future__ import annotations

import json
import os
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
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = pytest.mark.cluster

READONLY = "READONLY You can't write against a read only replica."


@dataclass(frozen=True)
class Place:
    """The namespace with its own Redis."""

    api: Api
    namespace: str
    folder: Path
    image: str

    @property
    def kubeconfig(self) -> str:
        return os.environ["KUBECONFIG"]

    def play(self, *options: str, **variables: Any) -> tuple[int, dict[str, int], str]:
        """Runs both roles; the exit status, the play's counts, and the output."""
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "module_defaults": {"group/celeryops.platform.kube": {"kubeconfig": self.kubeconfig}},
            "roles": ["celeryops.platform.namespace", "celeryops.platform.redis"],
        }
        small = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "128Mi"}}
        playbook = self.folder / "play.json"
        playbook.write_text(json.dumps([play]), encoding="utf-8")
        given = {"platform_namespace": self.namespace, "redis_image": self.image, "redis_resources": small, **variables}
        done = subprocess.run(
            ["ansible-playbook", "-i", "localhost,", "-e", json.dumps(given), *options, str(playbook)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
        )
        recap = next((line for line in done.stdout.splitlines() if line.startswith("localhost ")), "")
        counts = {key: int(value) for key, value in (word.split("=") for word in recap.split() if "=" in word)}
        return done.returncode, counts, done.stdout + done.stderr

    def module(self, name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"kubeconfig": self.kubeconfig, "namespace": self.namespace, **arguments}
        return run_module(name, given, check=check, diff=True)

    def redis(self, pod: str, *command: str) -> str:
        done = exec_in_pod(self.api, self.namespace, pod, ["redis-cli", *command], timeout=30)
        assert done.rc == 0, done.stderr
        return done.stdout.strip()

    def config_map(self, name: str, **data: str) -> ObjectRef:
        metadata = {"name": name, "namespace": self.namespace}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        self.api.create(body, field_manager="somebody")
        return ObjectRef("v1", "ConfigMap", name, self.namespace)

    def data(self, ref: ObjectRef) -> dict[str, str]:
        found = self.api.get(ref)
        assert found is not None
        return dict(found["data"])


def image_of_the_platform(api: Api) -> str:
    for stateful_set in api.list("apps/v1", "StatefulSet"):
        if stateful_set["metadata"]["name"] == "redis":
            return str(stateful_set["spec"]["template"]["spec"]["containers"][0]["image"])
    pytest.fail("no StatefulSet named redis in the cluster: bring the platform up first")


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Both roles applied, check and apply twice each, which is their own test of truthfulness."""
    place = Place(
        cluster, f"test-redis-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("redis"), image_of_the_platform(cluster)
    )
    try:
        for options, changed in ((("--check",), True), ((), True), (("--check",), False), ((), False)):
            status, counts, output = place.play(*options)
            assert status == 0, output
            assert (counts["changed"] > 0) is changed, output
        yield place
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", place.namespace))


def url_of(place: Place, service: str = "redis-0.redis-headless") -> str:
    return f"redis://{service}.{place.namespace}.svc.cluster.local:6379/0"


def test_one_master_with_its_replicas(place: Place) -> None:
    found = place.module("redis_master_info")
    assert found["changed"] is False
    assert (found["verdict"], found["disagreements"]) == ("healthy", [])
    assert found["master"]["pod"] == "redis-0"
    assert [(pod["role"], pod["writable"], pod["link"]) for pod in found["pods"]] == [
        ("master", True, ""),
        ("replica", False, "up"),
        ("replica", False, "up"),
    ]
    services = {service["name"]: service for service in found["services"]}
    assert set(services) == {"redis", "redis-headless"}
    for service in services.values():
        assert service["connections"] == 12
        assert service["writable"] is False
        assert service["selects"] == ["redis-0", "redis-1", "redis-2"]
    assert services["redis-headless"]["pods"] == {"redis-0": 4, "redis-1": 4, "redis-2": 4}
    assert services["redis-headless"]["errors"] == [READONLY]


def test_a_look_writes_nothing(place: Place) -> None:
    before = place.redis("redis-0", "INFO", "commandstats")
    place.module("redis_master_info")
    place.module("redis_master", check=True, config_map="not-there")
    assert place.redis("redis-0", "DBSIZE") == "0"
    assert ("cmdstat_set:" in before) == ("cmdstat_set:" in place.redis("redis-0", "INFO", "commandstats"))


def test_check_apply_check_apply(place: Place) -> None:
    runs = [place.module("redis_master", check=check, config_map="cycle") for check in (True, False, True, False)]
    assert [run["changed"] for run in runs] == [True, True, False, False]
    assert [run["evidence"][-1]["proof"] for run in runs] == ["look", "write", "look", "write"]
    assert runs[1]["evidence"][-1]["answers"] == {"master": 12, "replica": 0, "none": 0}
    data = place.data(ObjectRef("v1", "ConfigMap", "cycle", place.namespace))
    assert data == runs[0]["urls"]
    assert data["CELERY_BROKER_URL"] == data["CELERY_RESULT_BACKEND"] == url_of(place)
    assert place.redis("redis-0", "DBSIZE") == "0"


def test_a_url_on_the_plain_service_is_corrected(place: Place) -> None:
    plain = "redis://redis:6379/0"
    ref = place.config_map("patched", CELERY_BROKER_URL=plain, CELERY_RESULT_BACKEND=url_of(place), SENTRY_DSN="")
    foreseen = place.module("redis_master", check=True, config_map="patched")
    assert foreseen["changed"] is True
    assert place.data(ref)["CELERY_BROKER_URL"] == plain
    done = place.module("redis_master", config_map="patched")
    assert done["changed"] is True
    (problem,) = (one for one in done["problems"] if one.startswith("CELERY_BROKER_URL"))
    assert problem.startswith(f"CELERY_BROKER_URL was {plain}: ")
    assert READONLY in problem
    assert problem.endswith("(written by somebody)")
    assert done["diff"]["before"]["CELERY_BROKER_URL"] == plain
    assert place.data(ref) == {**done["urls"], "SENTRY_DSN": ""}
    assert place.module("redis_master", config_map="patched")["changed"] is False


def test_a_right_url_is_taken_into_ownership(place: Place) -> None:
    data = place.module("redis_master", check=True, config_map="owned")["urls"]
    place.config_map("owned", **data)
    assert place.module("redis_master", config_map="owned")["changed"] is True
    assert place.module("redis_master", config_map="owned")["changed"] is False


def test_credentials_are_removed_and_not_shown(place: Place) -> None:
    place.config_map("leaking", CELERY_BROKER_URL=url_of(place).replace("//", "//:hidden-word@"))
    done = place.module("redis_master", config_map="leaking")
    assert "credentials do not belong in a ConfigMap" in done["msg"]
    assert "hidden-word" not in json.dumps(done)


def test_no_redis_there(place: Place) -> None:
    assert place.module("redis_master_info", statefulset="absent")["verdict"] == "absent"
    assert place.module("redis_master", check=True, statefulset="absent")["changed"] is True
    refused = place.module("redis_master", statefulset="absent")
    assert refused["failed"] is True
    assert "run role redis first" in refused["msg"]


def test_bad_input(place: Place) -> None:
    missing = place.module("redis_master_info", password_secret={"name": "absent"})
    assert missing["failed"] is True
    assert "no such Secret" in missing["msg"]
    assert "missing required arguments: namespace" in run_module("redis_master", {})["msg"]
    assert run_module("redis_master_info", {"namespace": "x", "port": "many"})["failed"] is True


def test_two_masters_are_refused(place: Place) -> None:
    place.redis("redis-1", "REPLICAOF", "NO", "ONE")
    try:
        found = place.module("redis_master_info")
        assert found["verdict"] == "two_masters"
        refused = place.module("redis_master", config_map="refused")
        assert refused["failed"] is True
        assert "redis-0 (keys: 0), redis-1 (keys: 0)" in refused["msg"]
        assert place.api.get(ObjectRef("v1", "ConfigMap", "refused", place.namespace)) is None
    finally:
        place.redis("redis-1", "REPLICAOF", found["pods"][0]["host"], "6379")


def test_a_master_that_refuses_writes_is_refused(place: Place) -> None:
    place.redis("redis-0", "CONFIG", "SET", "min-replicas-to-write", "3")
    try:
        refused = place.module("redis_master", config_map="refused")
        assert refused["failed"] is True
        assert "NOREPLICAS" in refused["msg"]
    finally:
        place.redis("redis-0", "CONFIG", "SET", "min-replicas-to-write", "0")


def test_the_policy_refuses_a_limit_above_twice_the_request(place: Place) -> None:
    def pod(cpu_request: str, cpu_limit: str) -> dict[str, Any]:
        resources = {
            "requests": {"cpu": cpu_request, "memory": "64Mi"},
            "limits": {"cpu": cpu_limit, "memory": "64Mi"},
        }
        container = {"name": "probe", "image": place.image, "resources": resources}
        metadata = {"generateName": "ratio-", "namespace": place.namespace}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}

    for request, limit in (("300m", "800m"), ("100m", "500m")):
        with pytest.raises(KubeError, match="cpu max limit to request ratio per Container is 2"):
            place.api.create(pod(request, limit), dry_run=True)
    place.api.create(pod("400m", "800m"), dry_run=True)
    undeclared = pod("400m", "800m")
    del undeclared["spec"]["containers"][0]["resources"]
    assert place.api.create(undeclared, dry_run=True)["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "100m"


def test_secrets_are_made_once_and_never_printed(place: Place) -> None:
    ref = ObjectRef("v1", "Secret", "app-secrets", place.namespace)
    before = place.api.get(ref)
    assert before is not None
    status, _counts, output = place.play("--diff")
    assert status == 0
    after = place.api.get(ref)
    assert after is not None
    assert after["data"] == before["data"]
    for value in before["data"].values():
        assert value not in output


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"redis_maxmemory_percent": 95}, "lies between 10 and 80"),
        ({"redis_min_replicas_to_write": 3}, "is smaller than redis_replicas"),
        ({"redis_appendfsync": "sometimes"}, "value of redis_appendfsync must be one of"),
        ({"redis_replicas": "many"}, "unable to convert to int"),
        ({"namespace_config": {"CELERY_BROKER_URL": "redis://redis"}}, "which module redis_master keeps"),
        ({"namespace_config": {"X": "postgresql://u:p@h/d"}}, "nor URLs with a password"),
        ({"namespace_sentry_dsn": "changeme"}, "namespace_sentry_dsn is empty or"),
    ],
)
def test_wrong_variables_are_refused(place: Place, variables: dict[str, Any], words: str) -> None:
    status, counts, output = place.play("--check", **variables)
    assert status != 0
    assert words in " ".join(output.split())
    assert counts["failed"] == 1


def test_a_changed_password_rolls_every_pod(place: Place) -> None:
    ref = ObjectRef("v1", "Secret", "redis-auth", place.namespace)
    password = "another 'one\" \\ $HOME"  # noqa: S105
    place.api.patch(ref, {"stringData": {"password": password}}, field_manager="somebody")
    foreseen = place.module("redis_password", check=True)
    assert [pod["password"] for pod in foreseen["pods"]] == ["missing"] * 3
    before = {pod["name"]: pod["address"] for pod in place.module("redis_master_info")["pods"]}
    status, counts, output = place.play("--diff")
    assert status == 0, output
    assert counts["changed"] == 2
    assert password not in output
    found = place.module("redis_master_info")
    assert found["verdict"] == "healthy"
    assert all(pod["address"] != before[pod["name"]] for pod in found["pods"])
    again = place.module("redis_password")
    assert again == {**again, "changed": False, "pods": [{"name": n, "password": "accepted"} for n in sorted(before)]}


def test_data_survives_the_deletion_of_every_pod(place: Place) -> None:
    place.redis("redis-0", "SET", "order", "42")
    for number in range(3):
        place.api.delete(ObjectRef("v1", "Pod", f"redis-{number}", place.namespace))
    # The roles wait until the pods are back and in step again, and have nothing to change.
    status, counts, output = place.play()
    assert status == 0, output
    assert counts["changed"] == 0
    assert place.redis("redis-0", "GET", "order") == "42"
    assert place.redis("redis-2", "GET", "order") == "42"
    place.redis("redis-0", "DEL", "order")
