# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the rows of django-celery-beat say what was declared, inside the application's image."""

# Django and Celery are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import datetime
import difflib
import importlib.util
import json
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import plan, priority
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import database, report
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import (
    Refused,
    load_celery,
    load_django,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.survey import survey

__all__ = ["main"]

Json = dict[str, Any]
KINDS = ("crontab", "interval", "solar", "clocked")
# kombu's lists of a queue on Redis where the application sets no priority_steps
KOMBU_STEPS = (0, 3, 6, 9)
CRON_FIELDS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def main(request: Json) -> Json:
    """Request: app, entries (canonical), queues or None, database or None, priority_function or None, prune, check,
    lock_timeout. Answer: changed, changes, schedule, warnings, survey."""
    load_django(request["app"])
    app = load_celery(request["app"])
    app.loader.import_default_modules()
    app.finalize()
    _refuse_unknown(app, request["entries"], request["queues"])
    rule = _priority_rule(app, request["priority_function"])
    declared = {entry["name"]: _row(entry, rule) for entry in request["entries"]}
    changes, present = _reconcile(declared, request)
    # The application is loaded: what the check of the settings needs to know costs no pod of its own.
    found = survey(app)
    gone = {change.name for change in changes if change.action == "delete"}
    by_name = {entry["name"]: entry for entry in found["schedule"] if entry["name"] not in gone}
    for name, row in declared.items():
        by_name[name] = {"name": name, **{key: row[key] for key in ("task", "queue", "priority")}}
    rows, known = _outcome(changes, present)
    told, warnings = report.report(rows, known, declared, app, datetime.datetime.now(datetime.timezone.utc))  # noqa: UP017
    return {
        "schedule": told,
        "survey": {**found, "schedule": list(by_name.values())},
        "changed": any(change.action != "unchanged" for change in changes),
        "changes": [
            {"name": one.name, "action": one.action, "fields": list(one.fields), "diff": plan.shown(one)}
            for one in changes
        ],
        "warnings": _warnings(app, request["entries"], declared) + warnings,
    }


def _refuse_unknown(app: Any, entries: list[Json], given: list[str] | None) -> None:
    """Names every queue and task that the application does not know."""
    known = {name for name in app.tasks if name}
    declared = set(app.amqp.queues) if app.conf.task_queues else None
    problems = []
    for entry in entries:
        if entry["task"] not in known:
            near = _near(entry["task"], known)
            problems.append(
                f"{entry['name']!r}: task: expected a task that the application registers, found "
                f"{entry['task']!r}{near}"
            )
        queue = entry["queue"]
        for queues, source in ((declared, "the application's task_queues"), (given, "the option queues")):
            if queue is not None and queues is not None and queue not in queues:
                problems.append(
                    f"{entry['name']!r}: queue: expected one of {source} ({', '.join(sorted(queues))}), "
                    f"found {queue!r}{_near(queue, queues)}"
                )
    if any("solar" in entry["schedule"] for entry in entries) and importlib.util.find_spec("ephem") is None:
        problems.append(
            "solar schedules: expected the library ephem in the application's image, found none, without which beat "
            "ends; add it to the application's requirements"
        )
    if problems:
        raise Refused("The schedule does not fit the application", kind="schedule", problems=problems)


def _near(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _priority_rule(app: Any, path: str | None) -> Callable[[int], int]:
    """The application's own rule where it is named, for its routes use it too; else ours, for Redis.

    AMQP brokers serve the greatest number first, as people do, and need none.
    """
    if path is None:
        redis = app.connection_for_write().transport.driver_type == "redis"
        return priority.redis_priority if redis else lambda declared: declared
    module, _colon, name = path.partition(":")
    try:
        rule: Callable[[int], int] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as problem:
        raise Refused(
            "The application's priority function cannot be loaded",
            kind="input",
            expected="module:function, such as config.priorities:redis_priority",
            found=f"{path!r}: {problem}",
            remedy="Correct the option priority_function, or leave it out to use the collection's own rule.",
        ) from problem
    return rule


def _row(entry: Json, rule: Callable[[int], int]) -> Json:
    """The entry in the terms of the table, in the form that :func:`_present` reads rows into."""
    from django_celery_beat.models import CrontabSchedule

    schedule: Json = entry["schedule"]
    if "crontab" in schedule:
        zone = schedule["crontab"]["timezone"] or CrontabSchedule._meta.get_field("timezone").get_default()
        schedule = {"crontab": {**schedule["crontab"], "timezone": str(zone)}}
    declared = entry["priority"]
    return {
        "task": entry["task"],
        "schedule": schedule,
        "queue": entry["queue"],
        "priority": None if declared is None else rule(declared),
        **{
            key: entry[key]
            for key in (
                "args",
                "kwargs",
                "enabled",
                "one_off",
                "expires",
                "expire_seconds",
                "start_time",
                "description",
            )
        },
        # Either would take the message past the declared queue.
        "exchange": None,
        "routing_key": None,
    }


# Rows by name: as they are compared, and as the models have them
Present = tuple[dict[str, Json], dict[str, Any]]


def _outcome(changes: list[plan.Change], present: Present) -> tuple[dict[str, Json], dict[str, report.Known]]:
    """The rows as they are when the changes are made, and what they say beside what is compared."""
    rows, tasks = dict(present[0]), present[1]
    known = {name: report.Known(one.last_run_at, one.date_changed, one.total_run_count) for name, one in tasks.items()}
    for change in changes:
        if change.after is None:
            del rows[change.name]
        elif change.action != "unchanged":
            rows[change.name] = change.after
            before = known.get(change.name, report.Known())
            # As the model does: what is switched off forgets its last run.
            last = before.last_run if change.after["enabled"] else None
            known[change.name] = report.Known(last, None, before.runs)
    return rows, known


def _reconcile(declared: dict[str, Json], request: Json) -> tuple[list[plan.Change], Present]:
    """The changes, and the rows before them."""
    from django.db import ProgrammingError, connections, router, transaction
    from django_celery_beat.models import PeriodicTask, PeriodicTasks

    alias = request["database"] or router.db_for_write(PeriodicTask)
    connection = connections[database.choose(alias)]
    database.connect(connection)
    if request["check"]:
        try:
            present = _present(PeriodicTask, alias)
            return plan.plan(declared, present[0], request["prune"]), present
        except ProgrammingError:
            # The migrations come before the schedule; in check mode they have not.
            return plan.plan(declared, {}), ({}, {})
    try:
        with transaction.atomic(using=alias):
            database.take_transaction_lock(connection, request["lock_timeout"])
            present = _present(PeriodicTask, alias)
            changes, tasks = plan.plan(declared, present[0], request["prune"]), present[1]
            for change in changes:
                if change.action == "delete":
                    tasks[change.name].delete(using=alias)
                elif change.action != "unchanged":
                    _write(tasks.get(change.name) or PeriodicTask(name=change.name), change, alias)
            if any(change.action != "unchanged" for change in changes):
                # The running beat reads this row every few seconds.
                PeriodicTasks.update_changed()
            return changes, present
    except ProgrammingError as problem:
        raise Refused(
            "The tables of django-celery-beat are missing or not those of the installed version",
            kind="tables",
            expected="all migrations applied",
            found=str(problem).strip(),
            remedy="Run beat_migrations first.",
        ) from problem


def _present(model: Any, alias: str) -> Present:
    # A left join: a row whose schedule was lost is read as one without a schedule.
    tasks = {one.name: one for one in model.objects.using(alias).select_related(*KINDS).order_by("name")}
    return {name: _as_row(task) for name, task in tasks.items()}, tasks


def _as_row(task: Any) -> Json:
    return {
        "task": task.task,
        "schedule": _schedule_of(task),
        **{
            key: getattr(task, key)
            for key in (
                "queue",
                "priority",
                "enabled",
                "one_off",
                "expire_seconds",
                "description",
                "exchange",
                "routing_key",
            )
        },
        "args": _loaded(task.args),
        "kwargs": _loaded(task.kwargs),
        "expires": _moment(task.expires),
        "start_time": _moment(task.start_time),
    }


def _moment(value: Any) -> str | None:
    return value.astimezone(datetime.timezone.utc).isoformat() if value else None  # noqa: UP017 - Python 3.9


def _schedule_of(task: Any) -> Json | None:
    present = {kind: _related(task, kind) for kind in KINDS}
    found: Json = {}
    for kind, row in present.items():
        if kind == "crontab" and row is not None:
            found[kind] = {
                **{name: getattr(row, name) for name in CRON_FIELDS},
                "timezone": str(row.timezone),
            }
        elif kind == "interval" and row is not None:
            found[kind] = {"every": row.every, "period": row.period}
        elif kind == "solar" and row is not None:
            degrees = {name: f"{getattr(row, name):.6f}" for name in ("latitude", "longitude")}
            found[kind] = {"event": row.event, **degrees}
        elif row is not None:
            found[kind] = {"clocked_time": _moment(row.clocked_time)}
    return found or None


def _related(task: Any, kind: str) -> Any:
    from django.core.exceptions import ObjectDoesNotExist

    try:
        return getattr(task, kind)
    except ObjectDoesNotExist:
        return None


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _write(task: Any, change: plan.Change, alias: str) -> None:
    from django_celery_beat import models

    row: Json = change.after or {}
    names: list[str] = []
    for name in change.fields:
        if name == "schedule":
            for kind in KINDS:
                setattr(task, kind, None)
            ((kind, fields),) = row["schedule"].items()
            model = getattr(models, f"{kind.capitalize()}Schedule")
            # Rows are not unique in older versions: any that says the same will do.
            found = model.objects.using(alias).filter(**fields).first()
            setattr(task, kind, found or model.objects.using(alias).create(**fields))
            names += KINDS
        else:
            value = row[name]
            setattr(task, name, json.dumps(value, ensure_ascii=False) if name in ("args", "kwargs") else value)
            names.append(name)
    if change.action == "create":
        task.save(using=alias)
        return
    # Only these columns: last_run_at and total_run_count belong to the running beat, but for
    # last_run_at of a disabled task, which the model empties itself.
    names += ["date_changed"] + ([] if task.enabled else ["last_run_at"])
    task.save(using=alias, update_fields=names)


def _warnings(app: Any, entries: list[Json], declared: dict[str, Json]) -> list[str]:
    """Says which declared priorities the broker cannot tell apart."""
    if app.connection_for_write().transport.driver_type != "redis":
        return []
    steps = sorted((app.conf.broker_transport_options or {}).get("priority_steps") or KOMBU_STEPS)
    lists: dict[int, dict[int, int]] = {}
    for entry in entries:
        number = declared[entry["name"]]["priority"]
        if number is not None:
            served = max([step for step in steps if step <= number] or steps[:1])
            lists.setdefault(served, {})[number] = entry["priority"]
    return [
        f"declared priorities {', '.join(map(str, sorted(together.values(), reverse=True)))} share one list of the "
        "broker and are served in the order of arrival: set broker_transport_options priority_steps to 0 to 9"
        for together in lists.values()
        if len(together) > 1
    ]
