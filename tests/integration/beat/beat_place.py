# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers on loopback, and what a pod would run, run as a process: same program, environment and answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from helpers.modules import ROOT
from helpers.servers import DEADLINE

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment

PROJECT = ROOT / "apps/jewelry_shop"
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
USER = "jewelry_app"
PASSWORD = "p@ss/word:#1"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting


def takes_sessions(port: int) -> Callable[[], bool]:
    """For wait_until: PostgreSQL takes connections before it can do anything with them."""
    command = [POSTGRESQL / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    return lambda: subprocess.run(command, check=False).returncode == 0


def as_postgres(folder: Path) -> dict[str, Any]:
    """PostgreSQL and PgBouncer refuse to run as root, so root runs them as the packages' user."""
    if os.geteuid() != 0:
        return {}
    shutil.chown(folder, "postgres")
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
            given |= {"queues": None, "priority_function": None, "prune": False}
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
