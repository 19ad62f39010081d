# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database as migrations need it: a session of one's own, a lock, and the statement that failed."""

# Django is the pod's: it is imported where it is used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import Refused

__all__ = ["Statements", "choose", "locked", "open_session", "read_only", "take_transaction_lock"]

MIGRATIONS_LOCK = "celeryops beat_migrations"
SCHEDULE_LOCK = "celeryops beat_schedule"


class Statements:
    """Remembers the first statement that failed, without its parameters: those may be secret."""

    def __init__(self) -> None:
        self.failed: str | None = None

    def __call__(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        try:
            return execute(sql, params, many, context)
        except Exception:
            if self.failed is None:
                self.failed = str(sql).strip()[:4000]
            raise


def choose(alias: str | None) -> str:
    """The database alias that is meant: ``direct`` where the application has it, for it is no pooler."""
    from django.conf import settings

    if alias is None:
        return "direct" if "direct" in settings.DATABASES else "default"
    if alias not in settings.DATABASES:
        raise Refused(
            f"The application has no database alias {alias!r}",
            kind="input",
            expected="one of " + ", ".join(sorted(settings.DATABASES)),
            found=alias,
            remedy="Correct the option database, or DATABASES in the application's settings.",
        )
    return alias


def connect(connection: Any) -> None:
    """Opens the connection, or says which server does not answer."""
    from django.db.utils import OperationalError

    try:
        connection.ensure_connection()
    except OperationalError as problem:
        place = connection.settings_dict
        raise Refused(
            f"The database of alias {connection.alias!r} cannot be reached",
            kind="unreachable",
            expected=f"{place.get('HOST') or 'localhost'}:{place.get('PORT') or 'default port'} to let "
            f"user {place.get('USER')} into database {place.get('NAME')}",
            found=str(problem).strip(),
            remedy="Check that the database runs and that address, user and password are right.",
        ) from problem


def open_session(connection: Any) -> None:
    """Opens the connection and refuses a transaction pooler: it would give each statement another session."""
    connect(connection)
    if connection.vendor != "postgresql":
        return
    other = connection.copy()
    try:
        connect(other)
        # Two open sessions are two server processes. A pooler lends one idle process to both in turn.
        if _scalar(connection, "SELECT pg_backend_pid()") == _scalar(other, "SELECT pg_backend_pid()"):
            raise Refused(
                f"Database alias {connection.alias!r} leads through a transaction pooler",
                kind="pooler",
                expected="the server itself, or a pooler in session mode",
                found="two open connections that are one session",
                remedy="Name an alias of the primary itself in the option database.",
            )
    finally:
        other.close()


def read_only(connection: Any) -> None:
    """Lets the server refuse any write, so that looking at it cannot change it."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET default_transaction_read_only = on")


@contextlib.contextmanager
def locked(connection: Any, seconds: float) -> Iterator[None]:
    """Holds an advisory lock in a session of its own: a migration that fails cannot lose it.

    The server frees it with the session, so a run that dies leaves nothing behind.
    """
    if connection.vendor != "postgresql":
        yield
        return
    holder = connection.copy()
    try:
        connect(holder)
        _wait_for(holder, "pg_advisory_lock", MIGRATIONS_LOCK, seconds, local=False)
        yield
    finally:
        holder.close()


def take_transaction_lock(connection: Any, seconds: float) -> None:
    """An advisory lock until the end of the transaction, so it may go through a transaction pooler."""
    if connection.vendor == "postgresql":
        _wait_for(connection, "pg_advisory_xact_lock", SCHEDULE_LOCK, seconds, local=True)


def key_of(name: str) -> int:
    """The number by which PostgreSQL knows an advisory lock."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)


def _wait_for(connection: Any, function: str, name: str, seconds: float, *, local: bool) -> None:
    from django.db.utils import OperationalError

    key = key_of(name)
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, %s)", [f"{int(seconds * 1000)}ms", local])
        try:
            cursor.execute(f"SELECT {function}(%s)", [key])
        except OperationalError as problem:
            if getattr(problem.__cause__, "sqlstate", None) != "55P03":
                raise
            raise Refused(
                f"Another run holds the lock {name!r}",
                kind="locked",
                expected=f"it to be free within {seconds:g} s",
                found=_holder(connection, key),
                remedy="Wait for that run to end; lock_timeout is how long this one waits.",
            ) from problem
        # What follows may wait for its tables as long as it likes.
        cursor.execute("SELECT set_config('lock_timeout', '0', %s)", [local])


def _holder(connection: Any, key: int) -> str:
    asking = connection.copy()
    try:
        with asking.cursor() as cursor:
            cursor.execute(
                "SELECT a.pid, a.client_addr, a.backend_start "
                "FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND l.granted AND l.database = "
                "(SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND ((l.classid::bigint << 32) | l.objid::bigint) = %s",
                [key],
            )
            rows = cursor.fetchall()
    finally:
        asking.close()
    return (
        "; ".join(
            f"server process {pid} of {address or 'a local client'}, connected since {since:%F %T %Z}"
            for pid, address, since in rows
        )
        or "nobody any more"
    )


def _scalar(connection: Any, sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0]
