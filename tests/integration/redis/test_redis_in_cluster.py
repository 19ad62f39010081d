# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roles namespace and redis and both modules on the full cluster, in a namespace of their own.

The images are those that the platform's own Redis and proxies run with, so that they are on the nodes already. Who is
the master changes from test to test.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.modules import run_module
from helpers.servers import wait_until
from redis_place import Place, images_of_the_platform

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

READONLY = "READONLY You can't write against a read only replica."


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Both roles applied, check and apply twice each, which is their own test of truthfulness."""
    images = images_of_the_platform(cluster)
    place = Place(cluster, f"test-redis-{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("redis"), *images)
    try:
        for options, changed in ((("--check",), True), ((), True), (("--check",), False), ((), False)):
            status, counts, output = place.play(*options)
            assert status == 0, output
            assert (counts["changed"] > 0) is changed, output
        yield place
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", place.namespace))


def url_of(place: Place, service: str = "redis-master") -> str:
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
    assert set(services) == {"redis", "redis-headless", "redis-master"}
    led = services.pop("redis-master")
    assert (led["pods"], led["writable"]) == ({"redis-0": 12}, True)
    assert [one["names"] for one in found["sentinels"]] == [found["master"]["host"]] * 3
    assert [one["leads_to"] for one in found["proxies"]] == ["redis-0"] * 2
    assert {one["service"]: one["ready"] for one in found["endpoints"]} == {
        "redis": ["redis-0", "redis-1", "redis-2"],
        "redis-headless": ["redis-0", "redis-1", "redis-2"],
        "redis-master": sorted(one["name"] for one in found["proxies"]),
    }
    for service in services.values():
        assert service["connections"] == (3 if service["name"] == "redis-headless" else 12)
        assert service["writable"] is False
        assert service["selects"] == ["redis-0", "redis-1", "redis-2"]
    assert services["redis-headless"]["pods"] == {"redis-0": 1, "redis-1": 1, "redis-2": 1}
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


def test_in_every_mode_the_urls_are_proved(place: Place) -> None:
    host = f"{place.master}.redis-headless.{place.namespace}.svc.cluster.local"
    external = {
        "host": f"redis-master.{place.namespace}.svc.cluster.local",
        "username": "default",
        "image": place.image,
    }
    urls = {}
    for mode, more in (("sentinel", {}), ("external", {"external": external}), ("proxy", {})):
        done = place.module("redis_master", config_map="modes", mode=mode, **more)
        assert done["changed"] is True, done
        assert done["evidence"][-1]["answers"] == {"master": 12, "replica": 0, "none": 0}
        assert place.module("redis_master", config_map="modes", mode=mode, **more)["changed"] is False
        urls[mode] = place.data(ObjectRef("v1", "ConfigMap", "modes", place.namespace))
    names = [f"redis-sentinel-{number}.redis-sentinel" for number in range(3)]
    wanted = ";".join(
        url_of(place, name).replace("redis://", "sentinel://").replace(":6379", ":26379") for name in names
    )
    assert urls["sentinel"]["CELERY_BROKER_URL"] == wanted
    assert urls["sentinel"]["REDIS_SENTINEL_MASTER"] == "mymaster"
    assert urls["external"]["REDIS_USERNAME"] == "default"
    # What another mode had is gone.
    assert set(urls["proxy"]) == {"REDIS_HOST", "REDIS_PORT", "CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"}
    fixed = place.module("redis_master", config_map="modes", mode="master")
    if host.startswith("redis-0."):
        assert fixed["urls"]["REDIS_HOST"] == host
    else:
        assert "the fixed name does not lead to the master" in fixed["msg"]


def test_an_external_redis_is_asked_as_a_client_would(place: Place) -> None:
    outside = {"host": f"redis-master.{place.namespace}.svc.cluster.local", "image": place.image}
    found = place.module("redis_master_info", external=outside)
    assert (found["verdict"], found["services"][0]["writable"]) == ("healthy", True)
    balanced = place.module(
        "redis_master_info", external={**outside, "host": f"redis.{place.namespace}.svc.cluster.local"}
    )
    assert balanced["verdict"] == "no_master"
    assert READONLY in balanced["disagreements"][0]
    nobody = place.module(
        "redis_master", mode="external", external={**outside, "username": "nobody"}, config_map="refused"
    )
    assert "WRONGPASS" in nobody["msg"]
    assert "external" in place.module("redis_master", mode="external")["msg"]


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
    master = place.master
    other = next(name for name in ("redis-0", "redis-1") if name != master)
    # Sentinel makes it a replica again, after eight seconds at the earliest.
    place.redis(other, "REPLICAOF", "NO", "ONE")
    refused = place.module("redis_master", config_map="refused")
    assert refused["failed"] is True
    assert refused["verdict"] == "two_masters"
    assert "more than one pod says that it is the master" in refused["msg"]
    assert place.api.get(ObjectRef("v1", "ConfigMap", "refused", place.namespace)) is None
    assert place.master == master


def test_a_master_that_refuses_writes_is_refused(place: Place) -> None:
    master = place.master
    place.redis(master, "CONFIG", "SET", "min-replicas-to-write", "3")
    try:
        refused = place.module("redis_master", config_map="refused")
        assert refused["failed"] is True
        assert "NOREPLICAS" in refused["msg"]
    finally:
        place.redis(master, "CONFIG", "SET", "min-replicas-to-write", "0")


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
        ({"redis_maxmemory_percent": 95}, "Expected redis_maxmemory_percent between 10 and 80"),
        ({"redis_min_replicas_to_write": 3}, "found 3 of 3. Lower redis_min_replicas_to_write"),
        ({"redis_mode": "cluster"}, "value of redis_mode must be one of"),
        ({"redis_sentinel_replicas": 2}, "half of them is no majority"),
        ({"redis_mode": "external"}, "Expected redis_external.host in mode external"),
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


@pytest.mark.parametrize("how", ["process", "pod", "volume"])
def test_a_lost_master_is_replaced_and_nothing_replicated_is_lost(place: Place, how: str) -> None:
    master = place.master
    place.redis(master, "SET", "order", how)
    assert place.redis(master, "WAIT", "2", "5000") == "2"
    if how == "volume":
        exec_in_pod(place.api, place.namespace, master, ["sh", "-c", "rm -rf /data/*"], timeout=30)
    before = place.life(master)
    if how == "process":
        place.kill(master)
    else:
        place.api.delete(ObjectRef("v1", "Pod", master, place.namespace), grace_seconds=0)
    wait_until(lambda: place.life(master) not in (before, ("", 0)), "another life of the pod")
    new = place.master
    if how == "volume":
        assert new != master
    # Whoever is the master now, there is nothing for a second run to change.
    found = place.settled()
    assert found["verdict"] == "healthy"
    for pod in ("redis-0", "redis-1", "redis-2"):
        assert place.redis(pod, "GET", "order") == how
    place.redis(new, "DEL", "order")


def test_data_survives_the_deletion_of_every_pod(place: Place) -> None:
    master = place.master
    place.redis(master, "SET", "order", "42")
    for pod in place.api.list("v1", "Pod", place.namespace):
        place.api.delete(ObjectRef.of(pod))
    # The roles wait until the pods are back and in step again, and have nothing to change.
    assert place.settled()["verdict"] == "healthy"
    for pod in ("redis-0", "redis-1", "redis-2"):
        assert place.redis(pod, "GET", "order") == "42"
    place.redis(place.master, "DEL", "order")


def test_another_mode_takes_its_objects_along(place: Place) -> None:
    status, counts, output = place.play(redis_mode="sentinel")
    assert status == 0, output
    assert counts["changed"] == 1, output
    assert place.api.get(ObjectRef("apps/v1", "Deployment", "redis-proxy", place.namespace)) is None
    assert place.api.get(ObjectRef("v1", "Service", "redis-master", place.namespace)) is None
    missing = place.module("redis_master", config_map="refused")
    assert "There is no Redis to point the broker URL at" in missing["msg"]
    assert "redis-proxy" in missing["msg"]
