# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The statements of a plan, carried out by a real PostgreSQL on a socket of its own."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.plan import (
    OBSERVE,
    Database,
    Role,
    State,
    observed,
    plan,
    rotate,
    script,
)

ROLES = (Role("postgres", "root pw", True), Role("pooler", "pool'pw"), Role("jewelry_app", 'app"pw\\ é'))
DATABASES = (Database("jewelry_shop", "jewelry_app"),)


class Server:
    """A throw-away server that listens on a socket only: peer for postgres, SCRAM for everybody else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # initdb refuses root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            entry = pwd.getpwnam(self.user)
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        self.bin = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)

    def run(self, *argv: str, text: str = "", secret: str | None = None) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PGHOST": str(self.folder)}
        if secret is not None:
            env["PGPASSWORD"] = secret
        command = [str(self.bin / argv[0]) if self.bin else argv[0], *argv[1:]]
        return subprocess.run(
            command, input=text, env=env, capture_output=True, text=True, check=False, user=self.user, cwd="/"
        )

    def sql(self, statements: str, *options: str, secret: str | None = None) -> str:
        done = self.run("psql", "-XqAtw", "-v", "ON_ERROR_STOP=1", *options, text=statements, secret=secret)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def state(self) -> State:
        return observed(json.loads(self.sql(OBSERVE, "-d", "postgres", "-U", "postgres")))

    def apply(self, statements: str) -> None:
        self.sql(statements, "-d", "postgres", "-U", "postgres")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    # A socket's path may have 107 bytes: pytest's own folders are too deep.
    folder = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    server = Server(folder)
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c log_min_duration_statement=0"
    try:
        done = server.run("initdb", "-D", str(data), "-U", "postgres", "--auth-local=trust", "--no-sync", "-E", "UTF8")
        assert done.returncode == 0, done.stderr
        rules = "local all postgres peer\nlocal all all scram-sha-256\n"
        if server.user is None:
            rules = rules.replace("postgres peer", "postgres trust")
        (data / "pg_hba.conf").write_text(rules)
        done = server.run("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        assert done.returncode == 0, done.stdout
        yield server
    finally:
        server.run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder)


def converge(server: Server) -> list[tuple[str, str]]:
    changes = plan(server.state(), ROLES, DATABASES, "pooler")
    server.apply(script(changes))
    return [(change.kind, change.action) for change in changes]


def test_from_nothing_to_everything_and_no_further(server: Server) -> None:
    # In one test on purpose: each step needs the one before it.
    assert converge(server) == [
        ("role", "password"),
        ("role", "created"),
        ("role", "created"),
        ("database", "created"),
        ("lookup", "created"),
    ]
    assert converge(server) == []

    # The owner signs in with its password and works in its database.
    app = ("-U", "jewelry_app", "-d", "jewelry_shop")
    statement = "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); SELECT n FROM kept;"
    assert server.sql(statement, *app, secret=ROLES[2].password) == "1"
    with pytest.raises(RuntimeError, match="password authentication failed"):
        server.sql("SELECT 1", *app, secret=ROLES[1].password)

    # The pooler finds the owner's secret, no superuser's, and reaches no database but its own.
    pooler = ("-U", "pooler", "-d", "postgres")
    look = "SELECT name || ' ' || left(secret, 13) FROM pooler.user_lookup('{}')"
    assert server.sql(look.format("jewelry_app"), *pooler, secret=ROLES[1].password) == "jewelry_app SCRAM-SHA-256"
    assert server.sql(look.format("postgres"), *pooler, secret=ROLES[1].password) == ""
    with pytest.raises(RuntimeError, match="permission denied for database"):
        server.sql("SELECT 1", "-U", "pooler", "-d", "jewelry_shop", secret=ROLES[1].password)
    # And nobody else may ask.
    with pytest.raises(RuntimeError, match="permission denied for schema pooler"):
        server.sql(look.format("pooler"), "-U", "jewelry_app", "-d", "postgres", secret=ROLES[2].password)


@pytest.mark.parametrize(
    ("damage", "repaired"),
    [
        ("ALTER ROLE jewelry_app PASSWORD 'other'", ("role", "password")),
        ("ALTER ROLE jewelry_app PASSWORD NULL", ("role", "password")),
        ("ALTER ROLE jewelry_app NOLOGIN CREATEDB", ("role", "rights")),
        ("ALTER DATABASE jewelry_shop OWNER TO postgres", ("database", "owner")),
        ("GRANT CONNECT ON DATABASE jewelry_shop TO PUBLIC", ("database", "rights")),
        ("GRANT EXECUTE ON FUNCTION pooler.user_lookup(text) TO PUBLIC", ("lookup", "replaced")),
        ("REVOKE USAGE ON SCHEMA pooler FROM pooler", ("lookup", "replaced")),
        ("DROP SCHEMA pooler CASCADE", ("lookup", "created")),
    ],
)
def test_damage_is_repaired_once(server: Server, damage: str, repaired: tuple[str, str]) -> None:
    converge(server)
    server.apply(damage)
    assert converge(server) == [repaired]
    assert converge(server) == []


def test_no_secret_reaches_the_log_even_when_a_statement_fails(server: Server) -> None:
    converge(server)
    # The role is there already, so its creation fails; the server logs every other statement.
    changes = plan(State(), ROLES[2:], (), None)
    with pytest.raises(RuntimeError, match="already exists"):
        server.apply(script(changes))
    log = (server.folder / "log").read_text()
    assert "SELECT json_build_object" in log
    assert "SCRAM-SHA-256$" not in log


def test_two_passwords_at_once_and_then_one(server: Server) -> None:
    converge(server)
    statement = (
        "CREATE TABLE made (n int); SELECT current_user || ' ' || tableowner FROM pg_tables WHERE tablename = 'made';"
    )
    app = ("-U", "jewelry_app", "-d", "jewelry_shop")
    old = ROLES[2].password
    # There and back again; the old one is valid for an hour, then for no time at all.
    for current, password, grace in (("jewelry_app", "second 'pw", 3600), ("jewelry_app_alt", "third pw", 0)):
        change, user = rotate(server.state(), "jewelry_app", current, password, grace)
        server.apply(script([change]))
        new = ("-U", user, "-d", "jewelry_shop")
        assert server.sql(statement, *new, secret=password) == "jewelry_app jewelry_app"
        server.sql("DROP TABLE made;", *new, secret=password)
        if grace:
            assert server.sql("SELECT current_user", *app, secret=old) == "jewelry_app"
        # What the role's converging run finds then is as it should be.
        roles = (*ROLES[:2], Role("jewelry_app", password, login=user))
        assert plan(server.state(), roles, DATABASES, "pooler") == ()
    with pytest.raises(RuntimeError, match="password authentication failed"):
        server.sql("SELECT 1", "-U", "jewelry_app_alt", "-d", "jewelry_shop", secret="second 'pw")  # noqa: S106 - of a throw-away server
    look = "SELECT count(*) FROM pooler.user_lookup('{}')"
    pooler = ("-U", "pooler", "-d", "postgres")
    assert server.sql(look.format("jewelry_app"), *pooler, secret=ROLES[1].password) == "1"
    assert server.sql(look.format("jewelry_app_alt"), *pooler, secret=ROLES[1].password) == "0"


def test_an_alternate_that_was_lost_is_made_anew(server: Server) -> None:
    converge(server)
    server.apply("DROP ROLE IF EXISTS pooler_alt;")
    roles = (ROLES[0], Role("pooler", "new pw", login="pooler_alt"), ROLES[2])
    server.apply(script(plan(server.state(), roles, DATABASES, "pooler")))
    assert plan(server.state(), roles, DATABASES, "pooler") == ()
    look = "SELECT name FROM pooler.user_lookup('jewelry_app')"
    assert server.sql(look, "-U", "pooler_alt", "-d", "postgres", secret="new pw") == "jewelry_app"  # noqa: S106 - likewise
