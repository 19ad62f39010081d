# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Provider external on the full cluster: one namespace's database is, for another, somebody else's."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from postgresql_place import NAME, OWNER, Place, image_of

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.heavy]

CREDENTIALS = {"user": "jewelry_app", "pass": ""}


@pytest.fixture(scope="module")
def theirs(make_place: Callable[..., Place]) -> Place:
    place = make_place(postgresql_profile="small")
    assert place.applied() > 0
    return place


@pytest.fixture(scope="module")
def ours(make_place: Callable[..., Place], theirs: Place) -> Place:
    """Without its Secret yet."""
    external: dict[str, Any] = {
        "host": f"{NAME}-pooler.{theirs.namespace}.svc",
        "database": OWNER["database"],
        "secret": {"name": "their-database", "username_key": "user", "password_key": "pass"},
        "pool_mode": "transaction",
        "direct": {"host": f"{NAME}.{theirs.namespace}.svc"},
        "pooler": {"client_connections": 500, "pool_size": 20, "replicas": 1},
    }
    image = image_of(theirs.api, "Deployment", "celery-worker")
    return make_place(postgresql_provider="external", postgresql_external=external, postgresql_external_image=image)


def secret(place: Place, **data: str) -> None:
    """Made anew, as its user would."""
    place.api.delete(ObjectRef("v1", "Secret", "their-database", place.namespace))
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": "their-database", "namespace": place.namespace}
    place.api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded})


def refused(place: Place, **external: Any) -> str:
    given = {**place.variables["postgresql_external"], **external}
    status, counts, output = place.play(postgresql_external=given)
    assert status != 0
    assert counts["failed"] == 1
    return " ".join(output.split())


def test_a_database_that_is_fit_is_taken_as_it_is(ours: Place, theirs: Place) -> None:
    # Nothing to ask before there is a namespace; then, nothing to ask with.
    assert ours.applied("--check") > 0
    assert "no such Secret" in refused(ours)
    password = theirs.database.password(OWNER["secret"], OWNER["user"])
    assert password is not None
    secret(ours, user="jewelry_app")
    assert "keys user" in refused(ours)
    secret(ours, **{"user": "jewelry_app", "pass": password})
    assert ours.applied("--check") == 0
    assert ours.applied() == 0
    config = ours.api.get(ObjectRef("v1", "ConfigMap", "app-config", ours.namespace))
    assert config is not None
    assert config["data"]["DATABASE_HOST"] == f"{NAME}-pooler.{theirs.namespace}.svc"
    assert config["data"]["DATABASE_DIRECT_HOST"] == f"{NAME}.{theirs.namespace}.svc"
    assert not ours.exists("apps/v1", "StatefulSet", NAME)


def test_what_is_wrong_is_named(ours: Place, theirs: Place) -> None:
    direct = {"host": f"{NAME}.{theirs.namespace}.svc", "port": 5499}
    said = refused(ours, host="nobody.invalid", direct=direct)
    assert "name-unknown (main), unreachable (direct)" in said
    said = refused(ours, database="nothing", direct={"host": f"{NAME}.{theirs.namespace}.svc"}, sslmode="require")
    assert "tls-not-offered (main), tls-not-offered (direct)" in said
    said = refused(ours, host=f"{NAME}-repl.{theirs.namespace}.svc")
    assert "unreachable (main)" in said
    secret(ours, **{"user": "jewelry_app", "pass": "not this one"})
    assert "credentials (main), credentials (direct)" in refused(ours)
