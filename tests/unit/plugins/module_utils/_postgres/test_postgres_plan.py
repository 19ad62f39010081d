# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for roles, databases and the pooler's lookup, from states as data."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import plan as planning
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.plan import (
    Database,
    Role,
    State,
    observed,
    plan,
    script,
)
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.scram import make_secret

ROLES = (Role("postgres", "root-pw", system=True), Role("pooler", "pool-pw"), Role("jewelry_app", "app-pw"))
DATABASES = (Database("jewelry_shop", "jewelry_app"),)


def role(name: str, password: str, **rights: bool) -> dict[str, Any]:
    nothing = dict.fromkeys(("superuser", "replication", "createrole", "createdb", "bypassrls"), False)
    return {"name": name, "login": True, **nothing, "secret": make_secret(password), **rights}


def state(*roles: dict[str, Any], **changes: Any) -> State:
    wanted = [
        role("postgres", "root-pw", superuser=True, replication=True),
        role("pooler", "pool-pw"),
        role("jewelry_app", "app-pw"),
    ]
    answer = {
        "roles": [*(r for r in wanted if r["name"] not in {x["name"] for x in roles}), *roles],
        "databases": [{"name": "jewelry_shop", "owner": "jewelry_app", "public": False}],
        "lookup": {
            "body": planning._LOOKUP_BODY,
            "definer": True,
            "grantees": ["pooler"],
            "schema_grantees": ["pooler"],
        },
    }
    return observed({**answer, **changes})


def summary(found: State) -> list[tuple[str, str, str]]:
    return [(c.kind, c.name, c.action) for c in plan(found, ROLES, DATABASES, "pooler")]


def test_nothing_to_do() -> None:
    assert summary(state()) == []


def test_everything_in_an_order_that_can_be_carried_out() -> None:
    assert summary(State()) == [
        ("role", "postgres", "created"),
        ("role", "pooler", "created"),
        ("role", "jewelry_app", "created"),
        ("database", "jewelry_shop", "created"),
        ("lookup", "pooler.user_lookup", "created"),
    ]


def test_a_rotated_password_is_noticed_also_of_a_system_role() -> None:
    assert summary(state(role("postgres", "old", superuser=True))) == [("role", "postgres", "password")]
    assert summary(state(role("jewelry_app", "old"))) == [("role", "jewelry_app", "password")]


def test_a_role_without_a_secret_gets_one() -> None:
    assert summary(state({**role("jewelry_app", "x"), "secret": None})) == [("role", "jewelry_app", "password")]


def test_rights_beyond_login_are_taken_away() -> None:
    found = state({**role("jewelry_app", "app-pw", superuser=True, createdb=True), "login": False})
    (change,) = plan(found, ROLES, DATABASES, "pooler")
    assert change.sql == 'ALTER ROLE "jewelry_app" LOGIN NOSUPERUSER NOCREATEDB;'


def test_a_system_role_keeps_its_rights() -> None:
    assert summary(state(role("postgres", "root-pw", superuser=True, createdb=True))) == []


def test_the_owner_and_the_public_right_of_a_database() -> None:
    found = state(databases=[{"name": "jewelry_shop", "owner": "postgres", "public": True}])
    assert summary(found) == [("database", "jewelry_shop", "owner"), ("database", "jewelry_shop", "rights")]


def test_other_databases_and_roles_are_left_alone() -> None:
    other = [{"name": "x", "owner": "y", "public": True}]
    own = [{"name": "jewelry_shop", "owner": "jewelry_app", "public": False}]
    assert summary(state(role("y", "z", superuser=True), databases=other + own)) == []


@pytest.mark.parametrize(
    "difference",
    [
        {"body": "SELECT 1"},
        {"definer": False},
        {"grantees": ["PUBLIC", "pooler"]},
        {"grantees": None},
        {"schema_grantees": ["PUBLIC"]},
    ],
)
def test_a_lookup_that_differs_is_replaced(difference: dict[str, Any]) -> None:
    lookup = {**(state().lookup or {}), **difference}
    assert summary(state(lookup=lookup)) == [("lookup", "pooler.user_lookup", "replaced")]


def test_without_a_pooler_there_is_no_lookup() -> None:
    assert plan(state(lookup=None), ROLES, DATABASES, None) == ()


@pytest.mark.parametrize("name", ["", "Jewelry", "a-b", 'a"b', "1a", "a" * 64, "pg_shop", "a b", "a;b"])
def test_names_that_cannot_be_used(name: str) -> None:
    with pytest.raises(CeleryOpsError, match="cannot be used"):
        plan(State(), (Role(name, "x"),), (), None)
    with pytest.raises(CeleryOpsError, match="cannot be used"):
        plan(State(), (Role("a", "x"),), (Database(name, "a"),), None)


def test_an_owner_that_is_no_role() -> None:
    with pytest.raises(CeleryOpsError, match="'nobody' is needed but not described"):
        plan(State(), ROLES, (Database("a", "nobody"),), "pooler")


def test_a_role_named_twice() -> None:
    with pytest.raises(CeleryOpsError, match="more than once: a"):
        plan(State(), (Role("a", "x"), Role("a", "y")), (), None)


def test_no_password_is_shown_or_sent() -> None:
    changes = plan(State(), ROLES, DATABASES, "pooler")
    shown = repr(ROLES) + repr(changes) + str([change.summary() for change in changes]) + script(changes)
    assert not any(password in shown for password in ("root-pw", "pool-pw", "app-pw"))
    assert "SCRAM-SHA-256" not in repr(changes)


STANDING_IN = {"member_of": ["jewelry_app"], "settings": ["role=jewelry_app"]}
ROTATED = (*ROLES[:2], Role("jewelry_app", "new-pw", login="jewelry_app_alt"))


def after_rotation(*roles: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(c.kind, c.name, c.action) for c in plan(state(*roles), ROTATED, DATABASES, "pooler")]


def test_after_a_rotation_there_is_nothing_to_do() -> None:
    old = {**role("jewelry_app", "app-pw"), "expires": "2026-11-27T20:00:00+00:00"}
    assert after_rotation(old, {**role("jewelry_app_alt", "new-pw"), **STANDING_IN}) == []


def test_an_alternate_that_is_not_what_its_secret_says() -> None:
    assert after_rotation() == [("role", "jewelry_app_alt", "created"), ("role", "jewelry_app_alt", "membership")]
    damaged = {**role("jewelry_app_alt", "new-pw", createdb=True), **STANDING_IN, "settings": None}
    assert after_rotation(damaged) == [
        ("role", "jewelry_app_alt", "rights"),
        ("role", "jewelry_app_alt", "membership"),
    ]


def test_who_signs_in_does_not_expire() -> None:
    expiring = {**role("jewelry_app", "app-pw"), "expires": "2026-11-27T20:00:00+00:00"}
    assert summary(state(expiring)) == [("role", "jewelry_app", "expiry")]


def test_a_rotation_goes_to_the_other_one() -> None:
    change, user = planning.rotate(state(), "jewelry_app", "jewelry_app", "new-pw", 60)
    assert (user, change.summary()["detail"]) == ("jewelry_app_alt", ["jewelry_app -> jewelry_app_alt"])
    assert 'CREATE ROLE "jewelry_app_alt" LOGIN' in change.sql
    assert "'jewelry_app', now() + interval '60 s'" in change.sql
    there = state({**role("jewelry_app_alt", "new-pw"), **STANDING_IN})
    change, user = planning.rotate(there, "jewelry_app", "jewelry_app_alt", "newer-pw", 60)
    assert user == "jewelry_app"
    assert 'ALTER ROLE "jewelry_app" LOGIN' in change.sql
    assert "GRANT" not in change.sql
    assert "newer-pw" not in change.sql
