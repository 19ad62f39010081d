# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New credentials while clients write all the time: one that stays connected, and one that connects for each write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from helpers.modules import run_module
from postgresql_place import NAME, OWNER, SUFFIX, TINY, Place, image_of, until

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import writer

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

CLIENTS = {"stays": False, "fresh": True}
MEMORY = {
    kind: {**amounts, "memory": memory} for (kind, amounts), memory in zip(TINY.items(), ("64Mi", "128Mi"), strict=True)
}


def client(place: Place, name: str, *, fresh: bool) -> Json:
    """A Deployment whose pods read the Secret into their environment, as workers do."""
    request = {"host": f"{NAME}-pooler", "port": 5432, "database": OWNER["database"], "interval": 0.05}
    request |= {"table": "written", "client": name, "fresh": fresh}
    env = [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": OWNER["secret"], "key": key}}}
        for variable, key in (("WRITER_USER", "username"), ("WRITER_PASSWORD", "password"))
    ]
    source = writer.__loader__.get_source(writer.__name__)  # type: ignore[union-attr]
    container = {
        "name": "writer",
        "image": image_of(place.api, "StatefulSet", "jewelry-shop-db"),
        "command": ["python", "-c", source],
        "env": [*env, {"name": "WRITER_REQUEST", "value": json.dumps(request)}],
        "resources": MEMORY,
    }
    labels = {"client": name}
    pod = {"metadata": {"labels": labels}, "spec": {"enableServiceLinks": False, "containers": [container]}}
    # One at a time: the numbers are those of one client.
    spec = {"replicas": 1, "strategy": {"type": "Recreate"}, "selector": {"matchLabels": labels}, "template": pod}
    metadata = {"name": f"writer-{name}", "namespace": place.namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def apply_clients(place: Place) -> list[str]:
    """What the roles of workers and beat do: apply, which rolls what reads a changed Secret. Who was written."""
    objects = [client(place, name, fresh=fresh) for name, fresh in CLIENTS.items()]
    applied = run_module("manifests", {"kubeconfig": os.environ["KUBECONFIG"], "definitions": objects, "wait": True})
    assert not applied.get("failed"), applied
    return [one["name"] for one in applied["objects"] if one["action"] != "unchanged"]


def sql(place: Place, statements: str) -> str:
    """As the superuser: whatever happens to the shop's password, this is not part of it."""
    where = f"\\connect {OWNER['database']}\n"
    return place.database.sql(place.database.wait_for_leader(120), where + statements)


def written(place: Place, name: str) -> int:
    return int(sql(place, f"SELECT count(*) FROM written WHERE client = '{name}';"))


@pytest.fixture(scope="module")
def place(make_place: Callable[..., Place]) -> Place:
    place = make_place(postgresql_profile="small", postgresql_pooler_replicas=2)
    assert place.applied() > 0
    place.sql("CREATE TABLE written (client text, n bigint, attempt int, PRIMARY KEY (client, n));")
    assert sorted(apply_clients(place)) == ["writer-fresh", "writer-stays"]
    for name in CLIENTS:
        until(lambda name=name: written(place, name) > 20, f"a client that writes ({name})")
    return place


def credentials(place: Place, secret: str) -> tuple[str, str]:
    found = place.database.credentials(secret, OWNER["user"] if secret == OWNER["secret"] else "pooler")
    assert found is not None
    return found.username, found.password


def test_both_clients_go_on_while_their_credentials_change(place: Place) -> None:
    secrets = (OWNER["secret"], f"pooler.{SUFFIX}")
    for after in ("_alt", ""):
        old = [credentials(place, secret) for secret in secrets]
        pods = {pod["metadata"]["uid"] for pod in place.pods("postgresql")}
        poolers = {pod["metadata"]["uid"] for pod in place.pods("postgresql-pooler")}
        assert place.applied("--check", postgresql_rotate=True) > 0
        assert [credentials(place, secret) for secret in secrets] == old
        assert place.applied(postgresql_rotate=True) > 0
        new = [credentials(place, secret) for secret in secrets]
        assert [user for user, _password in new] == [f"jewelry_app{after}", f"pooler{after}"]
        assert all(one[1] != other[1] for one, other in zip(old, new, strict=True))
        # What reads the pooler's Secret was rolled, and nothing else.
        assert poolers.isdisjoint(pod["metadata"]["uid"] for pod in place.pods("postgresql-pooler"))
        assert pods == {pod["metadata"]["uid"] for pod in place.pods("postgresql")}
        # Between the role and those of the workers: the old credentials still let one in.
        before = {name: written(place, name) for name in CLIENTS}
        for name in CLIENTS:
            until(lambda name=name, before=before: written(place, name) > before[name] + 20, "more writes")
        assert sorted(apply_clients(place)) == ["writer-fresh", "writer-stays"]
        for name in CLIENTS:
            until(lambda name=name, before=before: written(place, name) > before[name] + 40, "more writes")
        assert place.applied() == 0
        assert apply_clients(place) == []
    for name in CLIENTS:
        # No number is missing, and none took more than one further attempt: the reconnect when its pooler went.
        count, last, most = sql(
            place, f"SELECT count(*), max(n), max(attempt) FROM written WHERE client = '{name}';"
        ).split("|")
        again = int(sql(place, f"SELECT count(*) FROM written WHERE client = '{name}' AND attempt > 1;"))
        print(f"{name}: {count} writes, {again} of them at the second attempt, {most} attempts at most")
        assert count == last
        assert int(most) <= 2
        assert again <= 2 * 2


def test_the_old_ones_end(place: Place) -> None:
    assert (
        sql(place, "SELECT count(*) FROM pg_roles WHERE rolvaliduntil BETWEEN now() AND now() + interval '1 h';") == "2"
    )


def test_young_credentials_are_left_alone(place: Place) -> None:
    assert place.applied(postgresql_rotation_age=1) == 0
    ref = ObjectRef("v1", "Secret", OWNER["secret"], place.namespace)
    old = {"metadata": {"annotations": {"celeryops.platform/rotated-at": "2026-01-01T00:00:00Z"}}}
    place.api.patch(ref, old)
    assert place.applied("--check", postgresql_rotation_age=90) > 0
