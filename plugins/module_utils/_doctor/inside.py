# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor asks from inside a running container, with the application's own settings.

Shipped as text beside common.py and tables.py of _beat/inside, and inside.py and backlog.py of _celery. It changes
nothing, tells no secret, and a part that cannot be told hides no other. Any Python from 3.9 on.
"""

# Celery and Django are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import multiprocessing
import os
import re
import socket
import tempfile
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import tables
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import load_celery
from ansible_collections.celeryops.platform.plugins.module_utils._celery import backlog
from ansible_collections.celeryops.platform.plugins.module_utils._celery import inside as celery_inside

__all__ = ["main"]

Json = dict[str, Any]
BEAT = "django_celery_beat"
# They exist before an application configures logging, and are what that may disable.
SPEAKERS = ("celery.app.trace", "celery.beat", "celery.worker", "celery.worker.consumer.consumer")
CGROUPS = {
    "limit": ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"),
    "usage": ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    "oom_kills": ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"),
}
SHARED = "/dev/shm"  # noqa: S108
# What had no answer in time is given more of it, once: a busy node is slow, a dead one stays silent.
LATE = re.compile(r"time(d )?out|within \d", re.IGNORECASE)
AGAIN = 2
# As much as prefork's semaphores take
SHARED_BYTES = 65536
# Lists that are not found within so many answers of SCAN are not looked for: it is a glance.
SCANS = 20


def main(request: Json) -> Json:
    """Request: app, queues, workers, settled, connections, whole, and in seconds within and locked.

    `workers`: how many may answer; `settled`: how many of them have to. Answer: a section for each part.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        return _answer(request)


def _answer(request: Json) -> Json:
    found: Json = {"shm": shared_memory(), "memory": memory()}
    for module in SPEAKERS:
        importlib.import_module(module)
    app = None
    try:
        app = load_celery(request["app"])
        found["settings"] = settings(app)
    except Exception as problem:
        found["settings"] = {"error": _told(problem), "module": os.environ.get("DJANGO_SETTINGS_MODULE")}
    if app is None or found["settings"]["error"]:
        return found
    found["logging"] = {"disabled": [name for name in SPEAKERS if logging.getLogger(name).disabled]}
    with ThreadPoolExecutor(2) as pool:
        at_broker = pool.submit(_guarded, lambda: at_the_broker(app, request))
        at_database = pool.submit(_guarded, lambda: at_the_database(request["within"], request["locked"]))
        found.update(at_broker.result())
        found["database"] = at_database.result()
    return found


def _told(problem: BaseException) -> str:
    """The error and what it came from: Celery puts its own over that of the settings."""
    cause = problem.__cause__ or (problem if problem.__suppress_context__ else problem.__context__) or problem
    said = f"{type(problem).__name__}: {problem}"
    return said if cause is problem else f"{said} (from {type(cause).__name__}: {cause})"


def _guarded(work: Callable[[], Json | None]) -> Json:
    try:
        return work() or {}
    except Exception as problem:
        return {"error": _told(problem)}


# The container


def shared_memory() -> Json:
    """Whether this user can write there what prefork needs."""
    try:
        with tempfile.NamedTemporaryFile(dir=SHARED) as file:
            file.write(b"\0" * SHARED_BYTES)
            file.flush()
        multiprocessing.Lock()
    except (OSError, ImportError) as problem:
        return {"error": f"{type(problem).__name__}: {problem}"}
    return {"error": None}


def memory() -> Json:
    """What the kernel counts of this container; None for what it does not show."""
    found: Json = {}
    for name, paths in CGROUPS.items():
        found[name] = next((number for number in map(_number, paths) if number is not None), None)
    return found


def _number(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:  # noqa: PTH123
            text = file.read()
    except OSError:
        return None
    match = re.search(r"oom_kill (\d+)", text) or re.fullmatch(r"(\d+)\s*", text)
    return int(match[1]) if match else None


# The application


def settings(app: Any) -> Json:
    """Imports the settings for themselves: an error in them would be masked by whoever touches them first."""
    name = os.environ.get("DJANGO_SETTINGS_MODULE")
    if name:
        importlib.import_module(name)
        import django

        django.setup()
        from django.conf import settings as of_django

        length = len(str(of_django.SECRET_KEY))
    app.loader.import_default_modules()
    return {"error": None, "module": name, **({"secret_key_length": length} if name else {})}


def at_the_broker(app: Any, request: Json) -> Json:
    """Sections broker, control and queues; the last two where the broker is a master that answers."""
    found: Json = {"broker": broker(app, request["connections"], request["within"])}
    if any(LATE.search(error) for error in found["broker"]["errors"]):
        found["broker"] = broker(app, request["connections"], AGAIN * request["within"])
    good = bool(found["broker"]["roles"]) and set(found["broker"]["roles"]) <= {"master", "connected"}
    if not good or found["broker"]["errors"] or not request["whole"]:
        return found
    found["control"] = _guarded(lambda: control(app, request["workers"], request["settled"], request["within"]))
    found["queues"] = _guarded(lambda: queues(app, request["queues"], request["within"]))
    return {name: section for name, section in found.items() if not (name != "broker" and section.get("error"))}


def broker(app: Any, connections: int, within: float) -> Json:
    """`roles` of new connections to the URL of the producers, and what those said that got none."""
    with app.connection_for_write() as connection:
        place = connection.hostname, connection.port or connection.default_port
        shown, driver = connection.as_uri(), connection.transport.driver_type
    problem = _reach(place, within) if driver == "redis" else None
    if problem:
        return {"url": shown, "roles": [], "errors": [problem]}
    told = celery_inside.broker(app, connections, within)["roles"]
    roles = ["replica" if role == "slave" else role for role in told if not role.startswith("error: ")]
    errors = [role[len("error: ") :] for role in told if role.startswith("error: ")]
    if driver == "redis" and not errors and set(roles) == {"master"}:
        errors = _refusals(app, within)
    return {"url": shown, "roles": roles, "errors": errors}


def _reach(place: tuple[str, int], within: float) -> str | None:
    """Why no connection can be made. A connection that is made and then silent is something else."""
    try:
        socket.create_connection(place, within).close()
    except TimeoutError:
        return f"{place[0]}:{place[1]} cannot be connected to within {within:g} s"
    except OSError as problem:
        return f"{place[0]}:{place[1]}: {problem}"
    return None


def _refusals(app: Any, within: float) -> list[str]:
    """What a master says to a write: to delete a key that is not there changes nothing."""
    options = {
        **(app.conf.broker_transport_options or {}),
        "socket_timeout": within,
        "socket_connect_timeout": within,
    }
    try:
        with app.connection_for_write(transport_options=options, connect_timeout=within) as connection:
            client = connection.default_channel.client
            client.execute_command("DEL", f"celeryops:doctor:{uuid.uuid4()}")
            memory_ = client.info("memory")
    except Exception as problem:
        return [f"{type(problem).__name__}: {problem}"]
    most, used = int(memory_.get("maxmemory") or 0), int(memory_.get("used_memory") or 0)
    if most and used >= most and memory_.get("maxmemory_policy") == "noeviction":
        return [f"OOM command not allowed: {used} of {most} bytes are used"]
    return []


def control(app: Any, workers: int, settled: int, within: float) -> Json:
    """The answers of all workers. Where one that has to answer is missing all are asked again: a busy node is slow."""
    told = celery_inside.workers(app, workers, within, [])
    waited = within
    if len(told["pongs"]) < settled:
        again = celery_inside.workers(app, workers, within, [])
        waited += within
        told = {
            "pongs": sorted({*told["pongs"], *again["pongs"]}),
            "queues": {**told["queues"], **again["queues"]},
            "probes": {**told["probes"], **again["probes"]},
        }
    return {"within": waited, **{name: told[name] for name in ("pongs", "queues", "probes")}}


def queues(app: Any, wanted: list[str], within: float) -> Json:
    """`lengths`: the backlog of the application's queues, of `wanted`, and of lists that nobody declared."""
    own, fanout = backlog.declared(app)
    with backlog.opened(app.connection_for_read(), within) as channel:
        try:
            names = own.union(wanted, _strangers(channel))
            return {"lengths": backlog.read(channel, names, fanout)["queues"]}
        except backlog.Unknown:
            return {"lengths": {}}


def _strangers(channel: Any) -> set[str]:
    """Lists that nobody declared and whose first entry is a message of kombu's: somebody sends there."""
    found: set[str] = set()
    if channel.connection.client.transport.driver_type != "redis":
        return found
    client = channel.client
    cursor, turns = 0, 0
    while turns == 0 or (cursor and turns < SCANS):
        cursor, keys = client.scan(cursor=cursor, count=500, _type="list")
        turns += 1
        for key in keys:
            name = key.decode("utf-8", "replace").split(channel.sep)[0]
            # Answers to remote control lie in lists of their own, and go away by themselves.
            if name.endswith(".reply.celery.pidbox") or name in found:
                continue
            head = client.lindex(key, 0) or b""
            if b'"properties"' in head and b'"body"' in head:
                found.add(name)
    return found


# The database


def at_the_database(within: float, locked: float) -> Json | None:
    found = database(within, locked)
    if found and LATE.search(found["error"] or found.get("beat_problem") or ""):
        return database(AGAIN * within, locked)
    return found


def database(within: float, locked: float) -> Json | None:
    """Of Django's default connection, with the locks that were waited for that long; None without Django."""
    try:
        from django.apps import apps
        from django.db import DatabaseError, connection, transaction
    except ImportError:
        return None
    if not apps.ready:
        return None
    if connection.vendor == "postgresql":
        options = connection.settings_dict.setdefault("OPTIONS", {})
        options["connect_timeout"] = max(2, int(within))
    found: Json = {"vendor": connection.vendor, "error": None, "beat": None, "waiting": None, "read_only": None}

    def bounded(part: Callable[[], Any]) -> Any:
        # Somebody may hold a lock on what is read; in a transaction of its own a limit leaves no trace in a pooler.
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = {int(within * 1000)}")
            return part()

    try:
        found["waiting"] = bounded(lambda: _waiting(connection, locked))
        found["read_only"] = bounded(lambda: _read_only(connection))
    except DatabaseError as problem:
        return {**found, "error": f"{type(problem).__name__}: {problem}".strip()}
    try:
        found["beat"] = bounded(lambda: _beat(connection, apps))
    except DatabaseError as problem:
        found["beat_problem"] = f"{type(problem).__name__}: {problem}".strip()
    return found


def _read_only(connection: Any) -> str | None:
    """What keeps a session from writing: `recovery` (it is a replica's), `setting`, or None."""
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on'")
        recovers, reads = cursor.fetchone()
    return "recovery" if recovers else "setting" if reads else None


def _beat(connection: Any, apps: Any) -> Json | None:
    if not apps.is_installed(BEAT):
        return None
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == BEAT]
    pending = [
        f"{one.app_label}.{one.name}" for one, _back in executor.migration_plan(targets) if one.app_label == BEAT
    ]
    return {
        "applied": sum(key[0] == BEAT for key in executor.loader.applied_migrations),
        "pending": pending,
        "missing": tables.verify(connection, [BEAT]).missing_tables,
    }


def _waiting(connection: Any, locked: float) -> list[Json]:
    """Sessions that wait for a lock. Of a query only its beginning: the rest may be customers' data."""
    with connection.cursor() as cursor:
        if connection.vendor != "postgresql":
            cursor.execute("SELECT 1")
            return []
        cursor.execute(
            "SELECT pid, extract(epoch FROM now() - query_start)::float, pg_blocking_pids(pid), query "
            "FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND now() - query_start > make_interval(secs => %s) "
            "ORDER BY query_start LIMIT 5",
            [locked],
        )
        rows = cursor.fetchall()
    return [
        {
            "pid": pid,
            "seconds": seconds,
            "blocked_by": blockers[0] if blockers else None,
            "query": " ".join(re.split(r"\b(?:VALUES|WHERE|SET)\b", query or "")[0].split())[:80],
        }
        for pid, seconds, blockers, query in rows
    ]
