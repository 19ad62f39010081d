# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user's own PostgreSQL lacks: from what the program in the pod saw to findings with a name and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["DIRECT", "MAIN", "Finding", "Wanted", "findings", "room"]

MAIN, DIRECT = "main", "direct"

# What the driver says when it cannot sign in: the finding's name, what was expected, what to do. First match counts.
_LOGIN: tuple[tuple[str, str, str, str], ...] = (
    (
        r"does not support SSL|server does not support TLS",
        "tls-not-offered",
        "a server that speaks TLS, because sslmode asks for it",
        "Turn ssl on at the server, or lower postgresql_external.sslmode.",
    ),
    (
        r"certificate verify failed|does not match host name|root certificate file",
        "tls-unverified",
        "a certificate that the authority in postgresql_external.sslrootcert has signed, for this host name",
        "Correct host or sslrootcert (a path in the application's image), or the server's certificate.",
    ),
    (
        r"no pg_hba\.conf entry",
        "not-admitted",
        "an entry in pg_hba.conf for this user, database, network and kind of connection",
        "Add the pods' network to pg_hba.conf; 'no encryption' in the message means that TLS is asked for.",
    ),
    (
        r"authentication failed|no password supplied|no such user|auth failed|role \".*\" does not exist",
        "credentials",
        "user and password of postgresql_external.secret to be accepted",
        "Correct the Secret, or the user's password at the server.",
    ),
    (
        r"database \".*\" does not exist|no such database",
        "database-missing",
        "the database that postgresql_external.database names",
        "Correct its name, or create it with the Secret's user as its owner.",
    ),
    (
        r"permission denied for database|is not currently accepting connections|not permitted to log in",
        "database-denied",
        "a user that may log in and connect to the database",
        "GRANT CONNECT ON DATABASE to the user, and LOGIN to its role.",
    ),
    (
        r"too many (clients|connections)|remaining connection slots|no more connections allowed",
        "connections-exhausted",
        "a free connection",
        "Raise max_connections or the user's CONNECTION LIMIT, or find out who holds them.",
    ),
)
_STEPS: dict[str, tuple[str, str, str]] = {
    "name": (
        "name-unknown",
        "a host name that the cluster's DNS resolves",
        "Correct postgresql_external; from a pod, a Service of another namespace is <service>.<namespace>.svc.",
    ),
    "connect": (
        "unreachable",
        "an answer within 5 s on this host and port from a pod of the namespace",
        "Correct host and port, or open firewall, listen_addresses and NetworkPolicy for the pods.",
    ),
    "protocol": ("not-postgresql", "PostgreSQL or a pooler of it", "Correct host and port."),
    "login": ("login", "to be let in", "The message is the server's own; its log says more."),
    "query": ("query", "the catalogue to be readable", "The message is the server's own; its log says more."),
}


@dataclass(frozen=True)
class Finding:
    """What is wrong at an endpoint: `name` is stable, the rest is for a person."""

    name: str
    endpoint: str
    expected: str
    found: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Wanted:
    """What the platform needs. `connections` is how many it may open, `pool_mode` what the user says is in front."""

    connections: int
    pool_mode: str = ""
    minimum_version: int = 14
    clients_prepare: bool = True


def findings(answer: Mapping[str, Any], wanted: Wanted) -> tuple[Finding, ...]:
    """Everything that is wrong, by endpoint. An endpoint that lets nobody in has one finding."""
    if answer["driver"] is None:
        lacking = "neither psycopg nor psycopg2"
        remedy = "Name an image with one of them; the application's own has, if it uses PostgreSQL at all."
        return (Finding("driver-missing", "image", "psycopg or psycopg2 in the image", lacking, remedy),)
    return tuple(
        finding
        for name, seen in answer["endpoints"].items()
        for finding in (_refused(name, seen) if "step" in seen else _seen(name, seen, answer["endpoints"], wanted))
    )


def _refused(endpoint: str, seen: Mapping[str, Any]) -> Iterator[Finding]:
    name, expected, remedy = _STEPS[seen["step"]]
    if seen["step"] == "login":
        for pattern, *told in _LOGIN:
            if re.search(pattern, seen["error"]):
                name, expected, remedy = told
                break
    yield Finding(name, endpoint, expected, seen["error"], remedy)


def _seen(endpoint: str, seen: Mapping[str, Any], endpoints: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    """Migrations go to the direct endpoint where there is one; a pooler in between is judged by its own rules."""
    if seen["version_number"] // 10000 < wanted.minimum_version:
        yield Finding(
            "version",
            endpoint,
            f"PostgreSQL {wanted.minimum_version} or later",
            str(seen["version"]),
            "Upgrade the server; or set postgresql_external.minimum_version, if the application supports this one.",
        )
    if seen["recovery"] or seen["read_only"]:
        yield Finding(
            "read-only",
            endpoint,
            "a primary that takes writes",
            "a replica" if seen["recovery"] else "transactions are read-only by default",
            "Name the primary's host, or take default_transaction_read_only from the user and the database.",
        )
    elif seen["create"] is not None and (endpoint == DIRECT or DIRECT not in endpoints):
        yield Finding(
            "migrate-rights",
            endpoint,
            f"user {seen['user']} to make, alter and fill a table in schema {seen['schema'] or '(none)'}",
            str(seen["create"]),
            f"Make it the owner of database {seen['database']}, or GRANT USAGE, CREATE ON SCHEMA to it.",
        )
    yield from _pooling(endpoint, seen, endpoints, wanted)
    if not seen["pooled"]:
        yield from _budget(endpoint, seen, wanted)


def _pooling(endpoint: str, seen: Mapping[str, Any], endpoints: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    if not seen["pooled"]:
        return
    shared = "two clients at once were given one session: a pooler in transaction mode"
    if endpoint == DIRECT:
        yield Finding(
            "direct-pooled",
            endpoint,
            "a session of its own for each client",
            shared,
            "Name the server itself, or a pooler in session mode, in postgresql_external.direct.",
        )
        return
    if wanted.pool_mode != "transaction":
        yield Finding(
            "pool-mode",
            endpoint,
            f"sessions (postgresql_external.pool_mode '{wanted.pool_mode}')",
            shared,
            "Set pool_mode to transaction, and direct to the server itself, for migrations and locks.",
        )
    if DIRECT not in endpoints:
        yield Finding(
            "direct-missing",
            endpoint,
            "a way round the pooler for migrations and locks, which need a session",
            "no postgresql_external.direct",
            "Set postgresql_external.direct to host and port of the server itself.",
        )
    if wanted.clients_prepare and seen["prepare"] is not None:
        yield Finding(
            "prepared-statements",
            endpoint,
            "statements that clients prepare to be known on each connection of the pooler",
            str(seen["prepare"]),
            "Set max_prepared_statements at PgBouncer 1.21 or later; or prepare nothing (psycopg's prepare_threshold "
            "None) and set postgresql_external.clients_prepare to false.",
        )


def room(seen: Mapping[str, Any]) -> int:
    """Connections that this user may hold at most, beside what others hold now."""
    others = seen["used"] - seen["used_by_user"]
    most = [seen["max_connections"] - seen["superuser_reserved"] - seen["reserved"] - others]
    most += [seen[limit] for limit in ("user_limit", "database_limit") if seen[limit] >= 0]
    return int(min(most))


def _budget(endpoint: str, seen: Mapping[str, Any], wanted: Wanted) -> Iterator[Finding]:
    if (free := room(seen)) >= wanted.connections:
        return
    others = seen["used"] - seen["used_by_user"]
    reserved = seen["superuser_reserved"] + seen["reserved"]
    limits = {"CONNECTION LIMIT of the user": "user_limit", "CONNECTION LIMIT of the database": "database_limit"}
    found = f"{free}: max_connections {seen['max_connections']} less {reserved} reserved, less {others} of others"
    found += "".join(f"; {what} {seen[key]}" for what, key in limits.items() if seen[key] >= 0)
    yield Finding(
        "connection-budget",
        endpoint,
        f"room for {wanted.connections} connections of workers, beat and migrations",
        found,
        "Raise what is too low at the server, put a pooler in between, or lower replicas or concurrency of workers.",
    )
