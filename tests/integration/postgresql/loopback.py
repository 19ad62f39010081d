# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL with TLS and PgBouncer on 127.0.0.1, and the program of a pod run against them as a process."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.servers import DEADLINE, answers, free_port, wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._postgres import inside, visit

PASSWORD = "p'w \"é"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting
SETTINGS = "listen_addresses=127.0.0.1 fsync=off ssl=on ssl_cert_file={0}/tls.crt ssl_key_file={0}/tls.key"


def unprivileged(folder: Path) -> dict[str, Any]:
    """Neither server runs as root, so root runs them as the packages' user."""
    if os.geteuid() != 0:
        return {}
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, "postgres", "postgres")
    # pytest makes its folders private: the session's, and where tests run side by side each process' own.
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextlib.contextmanager
def process(*command: str | Path, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([*map(str, command)], **options)
    try:
        yield started
    finally:
        started.terminate()
        started.wait(DEADLINE)


def certificate(folder: Path) -> None:
    """A self-signed certificate for `localhost`, which is its own authority."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *map(str, files)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "tls.key").chmod(0o600)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL whose superuser is `root_user`."""

    port: int
    folder: Path
    programs: Path

    def sql(self, statements: str, database: str = "postgres") -> str:
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "root_user"]
        done = subprocess.run(
            [self.programs / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", *where, "-d", database, "-f", "-"],
            input=statements,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[Server]:
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
    certificate(folder)
    (folder / "password").write_text(PASSWORD, encoding="utf-8")
    user = unprivileged(folder)
    identity = ["--username=root_user", f"--pwfile={folder / 'password'}", "--auth=scram-sha-256", "-E", "UTF8"]
    initdb = [programs / "initdb", f"--pgdata={folder / 'data'}", "--no-sync", *identity]
    subprocess.run(initdb, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)
    with running(folder, programs) as server:
        yield server


@contextlib.contextmanager
def running(folder: Path, programs: Path) -> Iterator[Server]:
    """The server of a folder that `postgresql` has made."""
    user = unprivileged(folder)
    port = free_port()
    settings = [f"port={port}", f"unix_socket_directories={folder}", *SETTINGS.format(folder).split()]
    options = [part for setting in settings for part in ("-c", setting)]
    ready = [programs / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    with process(programs / "postgres", "-D", folder / "data", *options, cwd=folder, stderr=subprocess.DEVNULL, **user):
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "postgres")
        yield Server(port, folder, programs)


@contextlib.contextmanager
def pgbouncer(folder: Path, server: Server, users: str, *, mode: str = "transaction") -> Iterator[int]:
    port = free_port()
    (folder / "users.txt").write_text(users, encoding="utf-8")
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {port}\nauth_type = scram-sha-256\nauth_file = {folder / 'users.txt'}\n"
        f"pool_mode = {mode}\nunix_socket_dir =\n",
        encoding="utf-8",
    )
    user = unprivileged(folder)
    with process("pgbouncer", "-q", folder / "pgbouncer.ini", cwd=folder, stderr=subprocess.DEVNULL, **user):
        wait_until(answers(port), "pgbouncer")
        yield port


Look = Callable[..., dict[str, Any]]


def look(port: int, *, host: str = "localhost", user: str, database: str, **given: Any) -> dict[str, Any]:
    """What the program says that a pod would run; `direct` is the port of the direct endpoint."""
    direct, password = given.pop("direct", None), given.pop("password", PASSWORD)
    params = {"host": host, "port": port, "database": database, "sslmode": "", "sslrootcert": "", **given}
    params["direct"] = None if direct is None else {"host": host, "port": direct}
    environment = {"CHECK_USER": user, "CHECK_PASSWORD": password, "CHECK_REQUEST": json.dumps(visit.request(params))}
    source = inside.__loader__.get_source(inside.__name__)  # type: ignore[union-attr]
    done = subprocess.run(
        [sys.executable, "-c", str(source)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return visit.interpret(done.returncode, done.stdout)
