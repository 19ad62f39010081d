# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the program in the pod saw to findings."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import visit
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.external import Wanted, findings, room

FIT: dict[str, Any] = {
    "version_number": 150010,
    "version": "15.10",
    "recovery": False,
    "read_only": False,
    "database": "shop",
    "user": "app",
    "schema": "public",
    "max_connections": 100,
    "superuser_reserved": 3,
    "reserved": 0,
    "used": 12,
    "used_by_user": 2,
    "user_limit": -1,
    "database_limit": -1,
    "pooled": False,
    "create": None,
    "prepare": None,
}
WANTED = Wanted(connections=30)


def names(*, wanted: Wanted = WANTED, direct: dict[str, Any] | None = None, **seen: Any) -> list[tuple[str, str]]:
    endpoints = {"main": {**FIT, **seen}, **({} if direct is None else {"direct": {**FIT, **direct}})}
    found = findings({"driver": "psycopg", "endpoints": endpoints}, wanted)
    return [(one.name, one.endpoint) for one in found]


def refused(step: str, error: str) -> str:
    (found,) = findings({"driver": "psycopg", "endpoints": {"main": {"step": step, "error": error}}}, WANTED)
    assert found.found == error
    assert found.remedy
    return found.name


def test_nothing_is_wrong_with_a_server_that_is_fit() -> None:
    assert names() == []
    assert names(direct={}) == []


@pytest.mark.parametrize(
    ("step", "error", "name"),
    [
        ("name", "[Errno -2] Name or service not known", "name-unknown"),
        ("connect", "[Errno 111] Connection refused", "unreachable"),
        ("connect", "timed out", "unreachable"),
        ("protocol", "the answer to an SSLRequest was b'-'", "not-postgresql"),
        ("login", "server does not support SSL, but SSL was required", "tls-not-offered"),
        ("login", "SSL error: certificate verify failed", "tls-unverified"),
        ("login", 'server certificate for "db" does not match host name "db.shop"', "tls-unverified"),
        ("login", 'root certificate file "/ca.crt" does not exist', "tls-unverified"),
        ("login", 'FATAL: no pg_hba.conf entry for host "10.42.0.9", user "app", no encryption', "not-admitted"),
        ("login", 'FATAL: password authentication failed for user "app"', "credentials"),
        ("login", "FATAL: SASL authentication failed", "credentials"),
        ("login", "FATAL: no such user", "credentials"),
        ("login", 'FATAL: role "app" does not exist', "credentials"),
        ("login", 'FATAL: database "shop" does not exist', "database-missing"),
        ("login", "FATAL: no such database: shop", "database-missing"),
        ("login", 'FATAL: permission denied for database "shop" DETAIL: …', "database-denied"),
        ("login", 'FATAL: role "app" is not permitted to log in', "database-denied"),
        ("login", "FATAL: sorry, too many clients already", "connections-exhausted"),
        ("login", 'FATAL: too many connections for role "app"', "connections-exhausted"),
        ("login", "FATAL: the database system is starting up", "login"),
        ("query", "permission denied for view pg_stat_activity", "query"),
    ],
)
def test_who_lets_nobody_in_has_one_finding(step: str, error: str, name: str) -> None:
    assert refused(step, error) == name


def test_an_image_without_a_driver() -> None:
    (found,) = findings({"driver": None, "endpoints": {}}, WANTED)
    assert found.name == "driver-missing"


def test_version() -> None:
    old = {"version_number": 130014, "version": "13.14"}
    assert names(**old) == [("version", "main")]
    assert names(**old, wanted=Wanted(connections=30, minimum_version=13)) == []


def test_a_replica_is_not_asked_for_rights() -> None:
    refusal = "cannot execute CREATE TABLE in a read-only transaction"
    assert names(recovery=True, create=refusal) == [("read-only", "main")]
    assert names(read_only=True, create=refusal) == [("read-only", "main")]


def test_rights_to_migrate_count_where_migrations_go() -> None:
    refusal = "permission denied for schema public"
    assert names(create=refusal) == [("migrate-rights", "main")]
    assert names(create=refusal, direct={}) == []
    assert names(direct={"create": refusal}) == [("migrate-rights", "direct")]


@pytest.mark.parametrize(
    ("seen", "free"),
    [
        ({}, 87),
        ({"used_by_user": 12}, 97),
        ({"reserved": 5}, 82),
        ({"user_limit": 20}, 20),
        ({"database_limit": 0}, 0),
    ],
)
def test_room_is_what_others_leave(seen: dict[str, int], free: int) -> None:
    assert room({**FIT, **seen}) == free
    assert names(wanted=Wanted(connections=free), **seen) == []
    assert names(wanted=Wanted(connections=free + 1), **seen) == [("connection-budget", "main")]


def test_a_pooler_in_transaction_mode() -> None:
    behind = Wanted(connections=1000, pool_mode="transaction")
    # The server's connections are the pooler's affair.
    assert names(pooled=True, direct={}, wanted=behind) == [("connection-budget", "direct")]
    behind = Wanted(connections=30, pool_mode="transaction")
    assert names(pooled=True, direct={}, wanted=behind) == []
    assert names(pooled=True, wanted=behind) == [("direct-missing", "main")]
    assert names(pooled=True, direct={}) == [("pool-mode", "main")]
    assert names(pooled=True, direct={"pooled": True}, wanted=behind) == [("direct-pooled", "direct")]


def test_statements_that_a_pooler_does_not_know() -> None:
    refusal = 'prepared statement "_pg3_0" already exists'
    behind = Wanted(connections=30, pool_mode="transaction")
    assert names(pooled=True, direct={}, prepare=refusal, wanted=behind) == [("prepared-statements", "main")]
    behind = Wanted(connections=30, pool_mode="transaction", clients_prepare=False)
    assert names(pooled=True, direct={}, prepare=refusal, wanted=behind) == []


def test_the_answer_is_found_among_what_an_image_prints() -> None:
    answer = visit.interpret(0, 'warming up\nCELERYOPS-ANSWER {"driver": null, "endpoints": {}}\nbye\n')
    assert answer == {"driver": None, "endpoints": {}}
    with pytest.raises(CeleryOpsError, match="exit status 137: no output"):
        visit.interpret(137, "")


def test_no_secret_is_in_the_pod() -> None:
    given = {
        **dict.fromkeys(("namespace", "image", "image_pull_policy", "python", "resources"), "x"),
        **{"security_context": {}, "pod_security_context": {}},
        **{"host": "db", "port": 5432, "database": "shop", "sslmode": "require", "sslrootcert": ""},
        "secret": {"name": "mine", "username_key": "u", "password_key": "p"},
        "direct": {"host": "db-direct", "port": 5433},
    }
    assert visit.request(given)["endpoints"]["direct"] == {"host": "db-direct", "port": 5433}
    (container,) = visit.manifest(given)["spec"]["containers"]
    sources = {one["name"]: one.get("valueFrom") for one in container["env"]}
    assert sources["CHECK_PASSWORD"] == {"secretKeyRef": {"name": "mine", "key": "p"}}
    assert sources["CHECK_USER"] == {"secretKeyRef": {"name": "mine", "key": "u"}}
