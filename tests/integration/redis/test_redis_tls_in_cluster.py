# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role redis with a certificate, on the full cluster: the tests are steps, each on what the one before has left."""

from __future__ import annotations

import base64
import ssl
import uuid
from collections.abc import Iterator

import pytest
from helpers.certificates import authority, certify
from helpers.servers import wait_until
from redis_place import Place, images_of_the_platform

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward
from ansible_collections.celeryops.platform.plugins.module_utils._redis.certificate import KEYS

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

SECRET = "redis-tls"  # noqa: S105 - its name
TRUST = "?ssl_cert_reqs=required&ssl_ca_certs=/etc/redis-tls/ca.crt"


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    images, folder = images_of_the_platform(cluster), tmp_path_factory.mktemp("redis")
    place = Place(cluster, f"test-redis-{uuid.uuid4().hex[:8]}", folder, *images)
    authority(folder / "tls")
    try:
        yield place
    finally:
        cluster.delete(ObjectRef("v1", "Namespace", place.namespace))


def names(place: Place) -> list[str]:
    end = f"{place.namespace}.svc.cluster.local"
    return [f"DNS:{name}.{end}" for name in ("redis-master", "redis", "*.redis-headless", "*.redis-sentinel")]


def keep(place: Place, said: list[str]) -> str:
    """Puts a certificate for these names into the Secret; what it is, as PEM."""
    folder = certify(place.folder / "tls", said)
    data = {key: base64.b64encode((folder / key).read_bytes()).decode() for key in KEYS}
    metadata = {"name": SECRET, "namespace": place.namespace}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    place.api.apply(body, field_manager="somebody", force=True)
    return (folder / "tls.crt").read_text(encoding="ascii").strip()


def served(place: Place, pod: str, port: int = 6379) -> str:
    """The certificate that the server in this pod shows."""
    with forward(place.api, place.namespace, pod, port) as local_port:
        return ssl.get_server_certificate(("127.0.0.1", local_port), timeout=10).strip()


def test_without_the_secret_a_run_says_what_to_make(place: Place) -> None:
    status, counts, output = place.play(redis_tls_secret=SECRET)
    assert status != 0
    assert "There is no certificate for Redis" in output
    assert counts["failed"] == 1
    assert place.api.get(ObjectRef("apps/v1", "StatefulSet", "redis", place.namespace)) is None


def test_a_certificate_for_other_names_is_refused_before_anything_is_applied(place: Place) -> None:
    keep(place, names(place)[1:])
    status, _counts, output = place.play(redis_tls_secret=SECRET)
    assert status != 0
    assert f"a certificate for redis-master.{place.namespace}.svc.cluster.local" in " ".join(output.split())
    assert place.api.get(ObjectRef("apps/v1", "StatefulSet", "redis", place.namespace)) is None


def test_check_apply_check_apply(place: Place) -> None:
    made = keep(place, names(place))
    for options, changed in ((("--check",), True), ((), True), (("--check",), False), ((), False)):
        status, counts, output = place.play(*options, redis_tls_secret=SECRET)
        assert status == 0, output
        assert (counts["changed"] > 0) is changed, output
    found = place.module("redis_master_info")
    assert (found["verdict"], found["disagreements"]) == ("healthy", [])
    assert [one["leads_to"] for one in found["proxies"]] == ["redis-0"] * 2
    assert all(served(place, f"redis-{number}") == made for number in range(3))
    assert all(served(place, f"redis-sentinel-{number}", 26379) == made for number in range(3))


def test_the_urls_are_written_through(place: Place) -> None:
    plain = place.config_map(
        "cycle", CELERY_BROKER_URL=f"redis://redis-master.{place.namespace}.svc.cluster.local:6379/0"
    )
    done = place.module("redis_master", config_map="cycle")
    assert done["changed"] is True, done
    assert "it is not a URL of the form rediss://host:port/database" in done["msg"]
    proof = done["evidence"][-1]
    assert (proof["proof"], proof["answers"]) == ("write", {"master": 12, "replica": 0, "none": 0})
    url = f"rediss://redis-master.{place.namespace}.svc.cluster.local:6379/0{TRUST}"
    assert place.data(plain)["CELERY_BROKER_URL"] == place.data(plain)["CELERY_RESULT_BACKEND"] == url
    assert place.module("redis_master", config_map="cycle")["changed"] is False
    asked = place.module("redis_master", config_map="asked", mode="sentinel")
    assert [part.partition("?")[2] for part in asked["urls"]["CELERY_BROKER_URL"].split(";")] == [TRUST[1:]] * 3


def test_a_lost_master_is_replaced(place: Place) -> None:
    master = place.master
    place.redis(master, "SET", "order", "42")
    assert place.redis(master, "WAIT", "2", "5000") == "2"
    before = place.life(master)
    place.api.delete(ObjectRef("v1", "Pod", master, place.namespace), grace_seconds=0)
    wait_until(lambda: place.life(master) not in (before, ("", 0)), "another life of the pod")
    assert place.master
    for options in (("--check",), ()):
        status, counts, output = place.play(*options, redis_tls_secret=SECRET)
        assert status == 0, output
        assert counts["changed"] == 0, output
    for pod in ("redis-0", "redis-1", "redis-2"):
        assert place.redis(pod, "GET", "order") == "42"


def test_a_renewed_certificate_is_served_by_the_servers_that_run(place: Place) -> None:
    pods = [f"redis-{number}" for number in range(3)]
    before = [place.life(pod) for pod in pods]
    made = keep(place, names(place))
    for pod in (*pods, *(f"redis-sentinel-{number}" for number in range(3))):
        # A kubelet looks after the files of a pod once a minute, and whenever the pod was changed.
        ref = ObjectRef("v1", "Pod", pod, place.namespace)
        place.api.patch(ref, {"metadata": {"annotations": {"renewed": "yes"}}}, field_manager="somebody")
    for pod in pods:
        wait_until(lambda pod=pod: served(place, pod) == made, f"{pod} with the new certificate")  # type: ignore[misc]
    assert [place.life(pod) for pod in pods] == before
    assert place.master


def test_it_can_be_switched_off_and_nothing_is_lost(place: Place) -> None:
    status, counts, output = place.play()
    assert status == 0, output
    # They are stopped, and applied anew.
    assert counts["changed"] == 2, output
    assert place.settled()["verdict"] == "healthy"
    for pod in ("redis-0", "redis-1", "redis-2"):
        assert place.redis(pod, "GET", "order") == "42"
    done = place.module("redis_master", config_map="cycle")
    assert done["urls"]["CELERY_BROKER_URL"] == f"redis://redis-master.{place.namespace}.svc.cluster.local:6379/0"


def test_it_can_be_switched_on_under_data(place: Place) -> None:
    status, _counts, output = place.play(redis_tls_secret=SECRET)
    assert status == 0, output
    assert place.module("redis_master_info")["verdict"] == "healthy"
    for pod in ("redis-0", "redis-1", "redis-2"):
        assert place.redis(pod, "GET", "order") == "42"
