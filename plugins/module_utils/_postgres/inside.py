# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod of the application finds at a PostgreSQL that is not ours. Runs with the image's own Python and driver.

It only tells: an endpoint's first failed step with the words of who refused, or what was seen behind it. Nothing that
it makes stays: the one table is rolled back.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import sys
import uuid
from contextlib import closing, suppress
from typing import Any

__all__ = ["MARK", "look", "main"]

MARK = "CELERYOPS-ANSWER "
ANSWER_WITHIN = 5
# An SSLRequest of PostgreSQL's protocol; one letter answers it, S or N.
SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

FACTS = """
SELECT current_setting('server_version_num')::int, current_setting('server_version'), pg_is_in_recovery(),
  current_setting('transaction_read_only') = 'on', current_database(), session_user::text, current_schema(),
  current_setting('max_connections')::int, current_setting('superuser_reserved_connections')::int,
  coalesce(current_setting('reserved_connections', true)::int, 0),
  (SELECT sum(numbackends)::int FROM pg_stat_database),
  (SELECT count(*)::int FROM pg_stat_activity WHERE usename = session_user),
  (SELECT rolconnlimit FROM pg_roles WHERE rolname = session_user),
  (SELECT datconnlimit FROM pg_database WHERE datname = current_database())
"""
NAMES = (
    "version_number",
    "version",
    "recovery",
    "read_only",
    "database",
    "user",
    "schema",
    "max_connections",
    "superuser_reserved",
    "reserved",
    "used",
    "used_by_user",
    "user_limit",
    "database_limit",
)


def load() -> Any:
    """The driver that the image has, or None."""
    for name in ("psycopg", "psycopg2"):
        with suppress(ImportError):
            return importlib.import_module(name)
    return None


driver = load()


def words(error: object) -> str:
    """An error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def connect(endpoint: dict[str, Any], request: dict[str, Any]) -> Any:
    parts = {
        "host": endpoint["host"],
        "port": endpoint["port"],
        "dbname": request["database"],
        "user": os.environ["CHECK_USER"],
        "password": os.environ["CHECK_PASSWORD"],
        "connect_timeout": ANSWER_WITHIN,
        "application_name": "celeryops_check",
    }
    parts.update({key: request[key] for key in ("sslmode", "sslrootcert") if request.get(key)})
    connection = driver.connect(**parts)
    connection.autocommit = True
    return connection


def ask(connection: Any, statement: str, parameters: tuple[Any, ...] | None = None) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchone() if cursor.description else None


def reach(endpoint: dict[str, Any]) -> tuple[str, str] | None:
    """The step that failed and why, or None: name, TCP, and whether a PostgreSQL answers."""
    try:
        socket.getaddrinfo(endpoint["host"], endpoint["port"], type=socket.SOCK_STREAM)
    except OSError as error:
        return "name", words(error)
    try:
        with socket.create_connection((endpoint["host"], endpoint["port"]), timeout=ANSWER_WITHIN) as sock:
            sock.settimeout(ANSWER_WITHIN)
            sock.sendall(SSL_REQUEST)
            answer = sock.recv(1)
    except OSError as error:
        return "connect", words(error)
    if answer not in (b"S", b"N"):
        return "protocol", f"the answer to an SSLRequest was {answer!r}"
    return None


def create(connection: Any) -> str | None:
    """Why a migration would fail that makes, alters and fills a table; None where it would not."""
    table = "celeryops_check_" + uuid.uuid4().hex[:12]
    try:
        ask(connection, "BEGIN")
        ask(connection, f"CREATE TABLE {table} (n int PRIMARY KEY)")
        ask(connection, f"ALTER TABLE {table} ADD COLUMN t text")
        ask(connection, f"INSERT INTO {table} (n) VALUES (1)")  # noqa: S608 - a name of our own
    except driver.Error as error:
        return words(str(error).partition("\n")[0])
    finally:
        ask(connection, "ROLLBACK")
    return None


def pooled(endpoint: dict[str, Any], request: dict[str, Any], first: Any) -> bool:
    """Whether two clients at once were given the same session of the server, as transaction pooling does.

    A pooler hands out the session that was used last, unless somebody else was quicker: so it is asked some times.
    """
    with closing(connect(endpoint, request)) as second:
        for _attempt in range(10):
            if ask(first, "SELECT pg_backend_pid()") == ask(second, "SELECT pg_backend_pid()"):
                return True
    return False


def prepared(endpoint: dict[str, Any], request: dict[str, Any]) -> str | None:
    """What became of a statement that two clients prepared: None where both had answers, or the driver never does."""
    if driver.__name__ != "psycopg":
        return None
    try:
        for _turn in range(3):
            with closing(connect(endpoint, request)) as first, closing(connect(endpoint, request)) as second:
                for connection in (first, second):
                    connection.prepare_threshold = 0
                    for number in range(3):
                        ask(connection, "SELECT %s::int + 1", (number,))
    except driver.Error as error:
        return words(error)
    return None


def look(endpoint: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """What is found at one endpoint: `step` and `error` of the first refusal, or the facts."""
    refused = reach(endpoint)
    if refused:
        return {"step": refused[0], "error": refused[1]}
    try:
        connection = connect(endpoint, request)
    except driver.Error as error:
        return {"step": "login", "error": words(error)}
    try:
        found = dict(zip(NAMES, ask(connection, FACTS)))  # noqa: B905 - an image's Python may be older
        found["pooled"] = pooled(endpoint, request, connection)
        found["create"] = create(connection)
        found["prepare"] = prepared(endpoint, request) if found["pooled"] else None
    except driver.Error as error:
        return {"step": "query", "error": words(error)}
    finally:
        connection.close()
    return found


def main() -> None:
    request = json.loads(os.environ["CHECK_REQUEST"])
    if driver is None:
        answer: dict[str, Any] = {"driver": None, "endpoints": {}}
    else:
        found = {name: look(endpoint, request) for name, endpoint in request["endpoints"].items()}
        answer = {"driver": driver.__name__, "endpoints": found}
    sys.stdout.write(MARK + json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
