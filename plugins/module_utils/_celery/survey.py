# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application's image says about itself: its settings, routes, tasks, schedule and limits.

Shipped to a pod of that image as text, beside _beat/inside/common.py. Nothing secret is told. Any Python from 3.9 on.
"""

# Celery and Django are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import importlib
import os
from collections.abc import ItemsView, Mapping
from importlib import metadata
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import load_celery

__all__ = ["main", "survey"]

Json = dict[str, Any]
SETTINGS = (
    "task_acks_late",
    "task_create_missing_queues",
    "task_default_queue",
    "task_reject_on_worker_lost",
    "task_soft_time_limit",
    "task_time_limit",
    "worker_max_memory_per_child",
    "worker_max_tasks_per_child",
    "worker_prefetch_multiplier",
    "worker_soft_shutdown_timeout",
)
TRANSPORT_OPTIONS = ("priority_steps", "visibility_timeout")
LIBRARIES = ("celery", "kombu", "gevent", "eventlet", "psycopg", "psycopg2", "mysqlclient", "psycogreen")
# One library under two names on PyPI
ALSO = {"psycopg2": "psycopg2-binary"}
# Seconds for the broker to answer
WITHIN = 3.0


def main(request: Json) -> Json:
    """Request: app. Answer: that of :func:`survey`."""
    app = load_celery(request["app"])
    app.loader.import_default_modules()
    app.finalize()
    return survey(app)


def survey(app: Any) -> Json:
    """``conf``, ``broker``, ``queues``, ``routes``, ``tasks``, ``unroutable``, ``schedule``, ``redis``, ``database``,
    ``installed``. What cannot be told is None, with a ``problem`` where there is a reason."""
    conf = app.conf
    options = conf.broker_transport_options or {}
    tasks, unroutable = _tasks(app)
    with app.connection_for_write() as connection:
        driver = connection.transport.driver_type
    return {
        "conf": {
            **{name: conf.get(name) for name in SETTINGS},
            "broker_transport_options": {
                name: list(options[name]) if isinstance(options[name], (list, tuple)) else options[name]
                for name in TRANSPORT_OPTIONS
                if options.get(name) is not None
            },
        },
        "broker": {"driver": driver},
        "queues": sorted(app.amqp.queues) if conf.task_queues else None,
        "routes": _routes(conf.task_routes),
        "tasks": tasks,
        "unroutable": unroutable,
        "schedule": _schedule(app),
        "redis": _redis(app) if driver == "redis" else {},
        "database": _database(),
        "installed": {name: _version(name) for name in LIBRARIES},
    }


def _name(queue: Any) -> Any:
    return getattr(queue, "name", queue)


def _routes(routes: Any) -> list[Json]:
    """The routes that are data. Those of functions show in where each task goes."""
    found = []
    for router in routes if isinstance(routes, (list, tuple)) else [routes]:
        pairs = router.items() if isinstance(router, Mapping) else router
        if not isinstance(pairs, (list, tuple, ItemsView)):
            continue
        for pattern, route in pairs:
            told = {"queue": route} if isinstance(route, str) else dict(route or {})
            found.append(
                {
                    "pattern": getattr(pattern, "pattern", str(pattern)),
                    "queue": _name(told.get("queue")),
                    "priority": told.get("priority"),
                }
            )
    return found


def _tasks(app: Any) -> tuple[list[Json], list[Json]]:
    """Every registered task and where it goes; and those that can go nowhere."""
    tasks: list[Json] = []
    lost: list[Json] = []
    for name, task in sorted(app.tasks.items()):
        own = {key: getattr(task, key, None) for key in ("queue", "priority")}
        options = {key: value for key, value in own.items() if value is not None}
        try:
            route = app.amqp.router.route(options, name, (), {}, task)
        except LookupError as problem:
            lost.append({"task": name, "problem": str(problem)})
            continue
        backoff = getattr(task, "retry_backoff", False)
        delay = getattr(task, "retry_backoff_max", 600) if backoff else task.default_retry_delay
        tasks.append(
            {
                "name": name,
                "queue": _name(route.get("queue")),
                "priority": route.get("priority"),
                "time_limit": task.time_limit,
                "soft_time_limit": task.soft_time_limit,
                # A bound task has the setting's value where it sets none of its own.
                "acks_late": None if task.acks_late == app.conf.task_acks_late else bool(task.acks_late),
                "autoretry": bool(getattr(task, "autoretry_for", ())),
                "retry_delay": float(delay or 0),
            }
        )
    return tasks, lost


def _schedule(app: Any) -> list[Json]:
    """Entries of the settings, and the enabled rows of django-celery-beat where the application has it."""
    found = {
        name: {
            "name": name,
            "task": entry.get("task"),
            "queue": _name((entry.get("options") or {}).get("queue")),
            "priority": (entry.get("options") or {}).get("priority"),
        }
        for name, entry in (app.conf.beat_schedule or {}).items()
    }
    for row in _rows():
        found[row["name"]] = row
    return list(found.values())


def _django() -> Any:
    """Django's registry of apps where it is set up, else None."""
    try:
        from django.apps import apps
    except ImportError:
        return None
    return apps if apps.ready else None


def _rows() -> list[Json]:
    apps = _django()
    if apps is None or not apps.is_installed("django_celery_beat"):
        return []
    from django.db import DatabaseError
    from django_celery_beat.models import PeriodicTask

    try:
        return list(PeriodicTask.objects.filter(enabled=True).values("name", "task", "queue", "priority"))
    except DatabaseError:
        # The tables come with the migrations, and a database that is away has its own check.
        return []


def _redis(app: Any) -> Json:
    """What the broker says about its limits."""
    options = {
        **(app.conf.broker_transport_options or {}),
        "socket_timeout": WITHIN,
        "socket_connect_timeout": WITHIN,
    }
    try:
        with app.connection_for_write(transport_options=options, connect_timeout=WITHIN) as connection:
            info = connection.default_channel.client.info
            memory, clients = info("memory"), info("clients")
    except Exception as problem:
        return {"problem": f"{type(problem).__name__}: {problem}"}
    return {
        "maxclients": clients.get("maxclients"),
        "maxmemory": memory.get("maxmemory"),
        "maxmemory_policy": memory.get("maxmemory_policy"),
    }


def _database() -> Json:
    """The driver, and how many connections PostgreSQL takes where Django leads to one."""
    found: Json = {"implementation": None, "wait": os.environ.get("PSYCOPG_WAIT_FUNC"), "max_connections": None}
    if _version("psycopg"):
        found["implementation"] = importlib.import_module("psycopg").pq.__impl__
    apps = _django()
    if apps is None:
        return found
    from django.db import DatabaseError, connection

    if connection.vendor != "postgresql":
        return found
    names = ("max_connections", "superuser_reserved_connections", "reserved_connections")
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT name, setting::int FROM pg_settings WHERE name = ANY(%s)", [list(names)])
            settings = dict(cursor.fetchall())
    except DatabaseError as problem:
        return {**found, "problem": f"{type(problem).__name__}: {problem}"}
    reserved = settings["superuser_reserved_connections"] + settings.get("reserved_connections", 0)
    return {**found, "max_connections": settings["max_connections"], "reserved": reserved}


def _version(name: str) -> Any:
    for known in (name, ALSO.get(name, name)):
        try:
            return metadata.version(known)
        except metadata.PackageNotFoundError:
            continue
    return None
