# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role's configuration of PgBouncer in front of a server that is a replica, and then promoted."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import psycopg
import pytest
from helpers.modules import ROOT
from helpers.servers import wait_until
from loopback import Server, postgresql, process, running, unprivileged

TEMPLATE = ROOT / "roles/postgresql/templates/pgbouncer.ini.j2"
# Both have one port, as in the cluster: here on two addresses of the loopback.
SERVER, POOLER = "127.0.0.1", "127.0.0.2"
# Passwords are looked up in the cluster only, and Debian's PgBouncer is older than the role's.
ELSEWHERE = ("auth_type", "auth_query", "auth_dbname", "max_prepared_statements", "listen_addr")


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[Server]:
    """A server that waits for changes of a primary, and takes reads."""
    with postgresql(tmp_path) as server:
        server.sql("CREATE ROLE shop LOGIN; CREATE DATABASE shop OWNER shop;")
    (tmp_path / "data/pg_hba.conf").write_text(
        "host shop shop 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    (tmp_path / "data/standby.signal").touch()
    with running(tmp_path, server.programs) as standby:
        assert standby.sql("SELECT pg_is_in_recovery()") == "t"
        yield standby


@contextlib.contextmanager
def pooler(folder: Path, server: Server, *, read_only: bool) -> Iterator[None]:
    folder.mkdir()
    values: dict[str, Any] = {
        "pooler": {"host": SERVER, "read_only": read_only, "pool_size": 5},
        "postgresql_pooler_mode": "transaction",
        "postgresql_pooler_max_client_connections": 20,
        "__postgresql_port": server.port,
        "__postgresql_pooler_role": "pooler",
        "__postgresql_lookup_pool_size": 2,
    }
    text = jinja2.Template(TEMPLATE.read_text(encoding="utf-8")).render(values).replace("/run/pgbouncer", str(folder))
    kept = [line for line in text.splitlines() if line.split(" = ")[0] not in ELSEWHERE]
    kept[kept.index("[pgbouncer]")] = f"[pgbouncer]\nlisten_addr = {POOLER}\nauth_type = trust"
    (folder / "pgbouncer.ini").write_text("\n".join(kept) + "\n", encoding="utf-8")
    (folder / "userlist.txt").write_text('"shop" ""\n', encoding="utf-8")
    (folder / "user.ini").touch()
    user = unprivileged(folder)
    with process("pgbouncer", "-q", folder / "pgbouncer.ini", cwd=folder, stderr=subprocess.DEVNULL, **user):
        wait_until((folder / f".s.PGSQL.{server.port}").exists, "pgbouncer")
        yield


def ask(server: Server, statement: str) -> list[tuple[Any, ...]]:
    """The answer of a session through the pooler; raises psycopg.Error."""
    given = {"host": POOLER, "port": server.port, "user": "shop", "dbname": "shop", "connect_timeout": 5}
    with psycopg.connect(**given, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


@pytest.mark.slow
def test_no_session_is_led_to_a_replica_and_stays_there(replica: Server, tmp_path: Path) -> None:
    """As on a node that comes back, whose way to the primary is still that of before it was lost."""
    with pooler(tmp_path / "pooler", replica, read_only=False):
        with pytest.raises(psycopg.OperationalError):
            ask(replica, "SELECT 1")
        replica.sql("SELECT pg_promote()")

        def writes() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                return ask(replica, "SELECT pg_is_in_recovery(), txid_current() > 0") == [(False, True)]
            return False

        wait_until(writes, "sessions at the new primary")


def test_a_pooler_for_reads_leads_to_replicas(replica: Server, tmp_path: Path) -> None:
    with pooler(tmp_path / "pooler", replica, read_only=True):
        assert ask(replica, "SELECT pg_is_in_recovery()") == [(True,)]
