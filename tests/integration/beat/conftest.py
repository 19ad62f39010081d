# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application with a real PostgreSQL, Redis and PgBouncer on loopback, and no cluster."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
from beat_place import (
    PASSWORD,
    POSTGRESQL,
    USER,
    Place,
    as_postgres,
    process,
    takes_sessions,
)
from helpers.servers import answers, free_port, wait_until


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
        wait_until(takes_sessions(port), "postgres")
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
