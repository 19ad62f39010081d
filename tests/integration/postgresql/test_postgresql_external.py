# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a user's own PostgreSQL finds, at real servers on loopback: each failure by its name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.servers import free_port
from loopback import PASSWORD, Server, look, pgbouncer, postgresql

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.external import Finding, Wanted, findings

QUOTED = PASSWORD.replace("'", "''")
APP = {"user": "app", "database": "shop"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with postgresql(tmp_path_factory.mktemp("postgresql")) as server:
        for role in ("app", "guest", "limited CONNECTION LIMIT 2", "locked NOLOGIN"):
            name, *options = role.split(" ", 1)
            server.sql(
                f"CREATE ROLE {name} {'LOGIN' if name != 'locked' else ''} {' '.join(options)} PASSWORD '{QUOTED}';"
            )
        server.sql("CREATE DATABASE shop OWNER app;")
        server.sql("CREATE DATABASE closed OWNER app;\nREVOKE CONNECT ON DATABASE closed FROM PUBLIC;")
        yield server


@pytest.fixture(scope="module")
def pooler(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with pgbouncer(tmp_path_factory.mktemp("pgbouncer"), server, users(server)) as port:
        yield port


@pytest.fixture(scope="module")
def session_pooler(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with pgbouncer(tmp_path_factory.mktemp("sessions"), server, users(server), mode="session") as port:
        yield port


def users(server: Server) -> str:
    """PgBouncer's file, with the secret that the server has."""
    secret = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app';")
    return f'"app" "{secret}"\n'


def found(port: int, wanted: Wanted = Wanted(connections=20), **given: Any) -> list[Finding]:  # noqa: B008 - frozen
    return list(findings(look(port, **{**APP, **given}), wanted))


def names(port: int, wanted: Wanted = Wanted(connections=20), **given: Any) -> list[str]:  # noqa: B008 - frozen
    return [one.name for one in found(port, wanted, **given)]


def test_a_server_that_is_fit_is_left_as_it_was(server: Server) -> None:
    before = server.sql("SELECT count(*) FROM pg_class;", "shop")
    answer = look(server.port, **APP)
    assert answer["driver"] == "psycopg"
    assert findings(answer, Wanted(connections=90)) == ()
    facts = answer["endpoints"]["main"]
    assert (facts["user"], facts["database"], facts["max_connections"], facts["pooled"]) == ("app", "shop", 100, False)
    assert server.sql("SELECT count(*) FROM pg_class;", "shop") == before


def test_nobody_there(server: Server) -> None:
    assert names(free_port()) == ["unreachable"]
    assert names(server.port, host="nobody.invalid") == ["name-unknown"]


def test_somebody_else_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(b"-ERR unknown command\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        assert names(listener.getsockname()[1], host="127.0.0.1") == ["not-postgresql"]
        thread.join()


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"password": "wrong"}, "credentials"),
        ({"user": "stranger"}, "credentials"),
        ({"database": "nothing"}, "database-missing"),
        ({"user": "guest", "database": "closed"}, "database-denied"),
        ({"user": "locked"}, "database-denied"),
    ],
)
def test_not_let_in(server: Server, given: dict[str, str], name: str) -> None:
    assert names(server.port, **given) == [name]


def test_rights_to_migrate(server: Server) -> None:
    (one,) = found(server.port, user="guest")
    assert (one.name, one.found) == ("migrate-rights", "permission denied for schema public")
    server.sql("GRANT CREATE ON SCHEMA public TO guest;", "shop")
    assert names(server.port, user="guest") == []
    server.sql("REVOKE CREATE ON SCHEMA public FROM guest;", "shop")


def test_writes_that_are_refused(server: Server) -> None:
    server.sql("ALTER ROLE app SET default_transaction_read_only = on;")
    assert names(server.port) == ["read-only"]
    server.sql("ALTER ROLE app RESET default_transaction_read_only;")


def test_connections(server: Server) -> None:
    (one,) = found(server.port, Wanted(connections=500))
    assert one.name == "connection-budget"
    assert "max_connections 100 less 3 reserved" in one.found
    server.sql("ALTER ROLE app CONNECTION LIMIT 10;")
    (one,) = found(server.port)
    assert one.found.startswith("10: ")
    assert "CONNECTION LIMIT of the user 10" in one.found
    server.sql("ALTER ROLE app CONNECTION LIMIT 0;")
    assert names(server.port) == ["connections-exhausted"]
    server.sql("ALTER ROLE app CONNECTION LIMIT -1;")


def test_an_old_server(server: Server) -> None:
    assert names(server.port, Wanted(connections=1, minimum_version=99)) == ["version"]


def test_tls(server: Server, pooler: int) -> None:
    authority = str(server.folder / "tls.crt")
    assert names(server.port, sslmode="require") == []
    assert names(server.port, sslmode="verify-full", sslrootcert=authority) == []
    # The certificate is for `localhost`.
    assert names(server.port, host="127.0.0.1", sslmode="verify-full", sslrootcert=authority) == ["tls-unverified"]
    assert names(server.port, sslmode="verify-full", sslrootcert="/nowhere.crt") == ["tls-unverified"]
    assert names(pooler, sslmode="require") == ["tls-not-offered"]


def test_a_pooler_in_transaction_mode_is_noticed(server: Server, pooler: int) -> None:
    told = Wanted(connections=20, pool_mode="transaction", clients_prepare=False)
    assert names(pooler, told, direct=server.port) == []
    assert names(pooler, told) == ["direct-missing"]
    assert names(pooler, Wanted(connections=20, clients_prepare=False), direct=server.port) == ["pool-mode"]
    assert names(server.port, told, direct=pooler) == ["direct-pooled"]


def test_a_pooler_that_keeps_no_prepared_statements_is_noticed(server: Server, pooler: int) -> None:
    told = Wanted(connections=20, pool_mode="transaction")
    (one,) = found(pooler, told, direct=server.port)
    assert one.name == "prepared-statements"
    assert "prepared statement" in one.found


def test_a_pooler_in_session_mode_is_as_good_as_the_server(session_pooler: int) -> None:
    assert names(session_pooler, Wanted(connections=20, pool_mode="session")) == []
