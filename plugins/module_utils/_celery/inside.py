# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked from inside a worker's container, with the application's own settings.

Sent to a container as text, beside look.py or the doctor's inside.py, so it stands alone: standard library on top,
Celery and Django only where they are used. Any Python from 3.9 on.
"""

# The container has Celery and Django, the controller has not: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import copy
import datetime
import io
import time
from typing import Any

__all__ = ["answer", "interval", "newest_run"]

NOBODY: dict[str, Any] = {"pongs": [], "queues": {}, "probes": {}, "conf": {}}


def broker(app: Any, connections: int, within: float) -> dict[str, Any]:
    """ROLE on new connections, by the URL that the application's producers use."""
    options = {
        **(app.conf.broker_transport_options or {}),
        "socket_timeout": within,
        "socket_connect_timeout": within,
    }
    roles: list[str] = []
    shown = app.connection_for_write().as_uri()
    for _number in range(connections):
        try:
            with app.connection_for_write(transport_options=options, connect_timeout=within) as connection:
                if connection.transport.driver_type != "redis":
                    connection.ensure_connection(max_retries=1)
                    roles.append("connected")
                    break
                reply = connection.default_channel.client.execute_command("ROLE")
                roles.append(reply[0].decode() if isinstance(reply[0], bytes) else str(reply[0]))
        except Exception as exc:
            roles.append(f"error: {type(exc).__name__}: {exc}")
            break
    return {"url": shown, "roles": roles, "backend": app.backend.as_uri()}


def workers(app: Any, expected: int, within: float, settings: list[str]) -> dict[str, Any]:
    """Who answers a ping, from which queues each consumes, what the probes know, and the settings in effect."""

    def ask(command: str, limit: int) -> dict[str, Any]:
        replies = app.control.broadcast(command, reply=True, timeout=within, limit=limit) or []
        return {name: reply for each in replies for name, reply in each.items()}

    pongs = ask("ping", expected) if expected else {}
    if not pongs:
        return NOBODY
    queues = ask("active_queues", len(pongs))
    probes = ask("celeryops_probe", len(pongs))
    conf = ask("conf", len(pongs)) if settings else {}
    return {
        "pongs": sorted(pongs),
        "queues": {name: sorted(queue["name"] for queue in reply) for name, reply in queues.items()},
        # A worker without the probes answers with an error.
        "probes": {name: reply for name, reply in probes.items() if "consuming" in reply},
        "conf": {name: {key: reply[key] for key in settings if key in reply} for name, reply in conf.items()},
    }


def tasks(app: Any, name: str, queues: list[str], within: float) -> list[dict[str, Any]]:
    """Send one task through each queue and read each result."""
    end = time.monotonic() + within
    sent = []
    for queue in queues:
        try:
            # A message that nobody takes must not lie about for ever.
            result = app.send_task(name, queue=queue, expires=max(within * 2, 60), ignore_result=False)
            sent.append((queue, time.monotonic(), result, ""))
        except Exception as exc:
            sent.append((queue, time.monotonic(), None, f"not sent: {type(exc).__name__}: {exc}"))
    answers = []
    for queue, begun, result, problem in sent:
        one: dict[str, Any] = {"queue": queue, "state": "NOT SENT", "problem": problem, "id": None}
        if result is not None:
            one["id"] = result.id
            try:
                value = result.get(timeout=max(end - time.monotonic(), 0.1), propagate=False)
                one.update(state=result.state, seconds=round(time.monotonic() - begun, 3), result=repr(value)[:200])
                result.forget()
            except Exception as exc:
                one.update(state="NO RESULT", problem=f"{type(exc).__name__}: {exc}")
        answers.append(one)
    return answers


def interval(schedule: Any, now: datetime.datetime) -> float | None:
    """Seconds between the next two due times. None for a schedule that cannot tell."""
    try:
        if not hasattr(schedule, "remaining_delta"):
            return float(schedule.run_every.total_seconds())
        schedule, moment = copy.copy(schedule), now
        # A crontab looks at its clock too: whether the last run was today.
        schedule.nowfun = lambda: moment
        due: list[datetime.datetime] = []
        for _attempt in range(2):
            last, delta, _now = schedule.remaining_delta(moment)
            moment = last + delta
            due.append(moment)
        return (due[1] - due[0]).total_seconds()
    except Exception:
        return None


def cron(row: Any) -> str:
    """The five fields in their usual order."""
    return f"{row.minute} {row.hour} {row.day_of_month} {row.month_of_year} {row.day_of_week}"


def entries() -> list[dict[str, Any]]:
    """The enabled entries of django-celery-beat: interval in seconds, last run as a Unix time."""
    import django

    django.setup()
    from django.utils import timezone
    from django_celery_beat.models import PeriodicTask

    now = timezone.now()
    found = []
    for row in PeriodicTask.objects.filter(enabled=True).select_related("crontab", "interval"):
        found.append(
            {
                "name": row.name,
                "task": row.task,
                "queue": row.queue,
                "cron": cron(row.crontab) if row.crontab_id else None,
                "interval": interval(row.schedule, now),
                "last_run": row.last_run_at.timestamp() if row.last_run_at else None,
                "runs": row.total_run_count,
            }
        )
    return found


def newest_run(answers: dict[str, Any], lag: float) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """(entry, run) of the newest task that beat sent, that ran well, and whose entry's last run advanced.

    Both within two intervals of the entry; beat may write the last run ``lag`` seconds late.
    """
    now = answers["time"]
    by_name = {entry["name"]: entry for entry in answers["entries"]}
    best = None
    for probe in answers["workers"]["probes"].values():
        for name, run in probe["beat"].items():
            entry = by_name.get(name)
            if not entry or not entry["interval"] or not entry["last_run"] or run["state"] != "SUCCESS":
                continue
            allowed = 2 * entry["interval"]
            fresh = now - run["finished"] <= allowed and now - entry["last_run"] <= allowed + lag
            if fresh and (best is None or run["finished"] > best[1]["finished"]):
                best = entry, run
    return best


def answer(options: dict[str, Any]) -> dict[str, Any]:
    """Everything in one go: the application is imported once."""
    from celery.app.utils import find_app

    noise = io.StringIO()
    with contextlib.redirect_stdout(noise):
        app = find_app(options["app"])
        found: dict[str, Any] = {"broker": broker(app, options["connections"], options["within"])}
        if not all(role in ("master", "connected") for role in found["broker"]["roles"]):
            # Celery would retry for minutes what is plain already.
            return {**found, "workers": NOBODY, "tasks": None, "entries": None}
        found["workers"] = workers(app, options["workers"], options["within"], options["settings"])
        found["tasks"] = (
            tasks(app, options["task"], options["queues"], options["task_timeout"]) if options["send"] else None
        )
        try:
            found["entries"] = entries() if options["beat"] else None
        except Exception as exc:
            found.update(entries=None, entries_problem=f"{type(exc).__name__}: {exc}")
        end = time.monotonic() + options["beat_timeout"]
        found["time"] = time.time()
        while found["entries"] is not None and newest_run(found, options["lag"]) is None and time.monotonic() < end:
            # Nothing tells when beat has sent a task and a worker has run it: both write it down at their own pace.
            time.sleep(2)
            found["workers"] = workers(app, options["workers"], options["within"], options["settings"])
            found.update(entries=entries(), time=time.time())
    return found
