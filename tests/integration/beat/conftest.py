# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application with a real PostgreSQL, Redis and PgBouncer on loopback, and no cluster.

What a pod would run is run as a process here: same program, same environment, same answer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment

PROJECT = ROOT / "apps/jewelry_shop"
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
USER = "jewelry_app"
PASSWORD = "p@ss/word:#1"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting
DEADLINE = 60


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"{what}: not within {DEADLINE} s")
        time.sleep(0.05)


def answers(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return ready


def as_postgres(folder: Path) -> dict[str, Any]:
    """PostgreSQL and PgBouncer refuse to run as root, so root runs them as the packages' user."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "postgres")
    for parent in list(folder.parents)[:2]:  # pytest makes its folders private
        parent.chmod(0o755)
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextlib.contextmanager
def process(*command: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([*map(str, command)], **options)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(DEADLINE)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--requirepass", PASSWORD, "--save", ""]
    folder = tmp_path_factory.mktemp("redis")
    with process("redis-server", *options, cwd=folder, stdout=subprocess.DEVNULL):
        wait_until(answers(port), "redis-server")
        yield port


@pytest.fixture(scope="session")
def postgresql_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    folder = tmp_path_factory.mktemp("postgresql")
    user = as_postgres(folder)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    identity = [f"--username={USER}", f"--pwfile={secret}", "--auth=scram-sha-256"]
    initdb = [POSTGRESQL / "initdb", f"--pgdata={folder / 'data'}", "--no-sync", *identity]
    subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -c unix_socket_directories={folder}"
    server = [POSTGRESQL / "postgres", "-D", folder / "data", *options.split()]
    with process(*server, cwd=folder, stderr=subprocess.DEVNULL, **user):
        wait_until(answers(port), "postgres")
        yield port


@pytest.fixture(scope="session")
def pooler_port(postgresql_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """PgBouncer in transaction mode."""
    port = free_port()
    folder = tmp_path_factory.mktemp("pgbouncer")
    user = as_postgres(folder)
    (folder / "users.txt").write_text(f'"{USER}" "{PASSWORD}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgresql_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = scram-sha-256\nauth_file = {folder / 'users.txt'}\n"
        "pool_mode = transaction\nunix_socket_dir =\n"
    )
    with process("pgbouncer", "-q", folder / "pgbouncer.ini", cwd=folder, stderr=subprocess.DEVNULL, **user):
        wait_until(answers(port), "pgbouncer")
        yield port


@dataclass
class Place:
    """Where a pod would be: the application's environment on one database."""

    environment: dict[str, str]
    folder: Path = PROJECT
    extra: dict[str, str] = field(default_factory=dict)

    def ask(self, program: str, **request: Any) -> dict[str, Any]:
        """The program's answer; raises as a module would."""
        return shipment.interpret(self.run(program, **request))

    def run(self, program: str, **request: Any) -> shipment.Outcome:
        given = {"app": "config", "database": None, "check": False, "lock_timeout": DEADLINE}
        if program == "schedule":
            given |= {"queues": None, "priority_function": None}
        done = subprocess.run(
            shipment.command(sys.executable),
            cwd=self.folder,
            env={**self.environment, **self.extra, **shipment.work(program, {**given, **request})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return shipment.Outcome(done.returncode, done.stdout)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self.connect() as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection[Any]:
        env = self.environment
        return psycopg.connect(
            host="127.0.0.1",
            port=env["DATABASE_DIRECT_PORT"],
            dbname=env["DATABASE_NAME"],
            user=USER,
            password=PASSWORD,
            autocommit=True,
        )

    def tables(self) -> set[str]:
        return {name for (name,) in self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


@pytest.fixture(scope="session")
def make_place(redis_port: int, postgresql_port: int, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Place]:
    """Makes a database, empty or as a copy of another, and the environment that leads to it."""
    data = tmp_path_factory.mktemp("data")

    def make(template: str = "template1") -> Place:
        name = f"test_{uuid.uuid4().hex[:8]}"
        url = f"redis://127.0.0.1:{redis_port}/0"
        place = Place(
            {
                "PATH": f"{POSTGRESQL}{os.pathsep}{os.environ['PATH']}",
                "DJANGO_SETTINGS_MODULE": "config.settings",
                "DJANGO_SECRET_KEY": "k" * 64,
                "FIELD_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
                "SENTRY_DSN": "",
                "DATABASE_HOST": "127.0.0.1",
                "DATABASE_PORT": str(postgresql_port),
                "DATABASE_NAME": "postgres",
                "DATABASE_USER": USER,
                "DATABASE_PASSWORD": PASSWORD,
                "DATABASE_DIRECT_HOST": "127.0.0.1",
                "DATABASE_DIRECT_PORT": str(postgresql_port),
                "CELERY_BROKER_URL": url,
                "CELERY_RESULT_BACKEND": url,
                "REDIS_PASSWORD": PASSWORD,
                "DATA_DIR": str(data),
            }
        )
        place.sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        place.environment["DATABASE_NAME"] = name
        return place

    return make


@pytest.fixture
def empty(make_place: Callable[..., Place]) -> Place:
    """An application whose database holds nothing."""
    return make_place()


@pytest.fixture(scope="session")
def template(make_place: Callable[..., Place]) -> str:
    """The name of a migrated database to copy from."""
    place = make_place()
    place.ask("migrations", apps=["all"])
    return place.environment["DATABASE_NAME"]


@pytest.fixture
def migrated(make_place: Callable[..., Place], template: str) -> Place:
    """An application whose migrations are applied."""
    return make_place(template)
