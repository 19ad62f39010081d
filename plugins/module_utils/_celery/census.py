# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who works on what, asked from inside a container of the application: workers, their tasks, and the backlog.

Sent to a container as text, beside backlog.py and _beat/inside/common.py. It only asks. Names and numbers of tasks are
told; their arguments and ids never leave the container. Any Python from 3.9 on.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import Refused, load_celery
from ansible_collections.celeryops.platform.plugins.module_utils._celery import backlog

__all__ = ["main", "skew"]

Json = dict[str, Any]


def main(request: Json) -> Json:
    """Request: app, queues (further ones), within (seconds for each answer).

    Answer: ``driver``, ``workers`` by node name, ``tasks``, ``backlog``, its ``problem``, ``broker_skew`` in seconds.
    """
    app = load_celery(request["app"])
    connection = app.connection_for_read()
    driver, url = connection.transport.driver_type, connection.as_uri()
    try:
        with backlog.opened(connection, request["within"]) as channel:
            return {"driver": driver, **_seen(app, channel, request)}
    except connection.connection_errors as problem:
        raise Refused(
            "The broker does not answer",
            kind="unreachable",
            expected=f"a broker at {url}, with the environment of this container",
            found=f"{type(problem).__name__}: {problem}",
            remedy="Bring the broker up, or correct the URL that the application gets.",
        ) from problem


def _seen(app: Any, channel: Any, request: Json) -> Json:
    workers, requests = _workers(app, request["within"])
    own, fanout = backlog.declared(app)
    queues = own.union(request["queues"], *(worker["queues"] for worker in workers.values()))
    found: Json = {"workers": workers, "backlog": None, "problem": None, "broker_skew": None}
    try:
        found["backlog"] = backlog.read(channel, queues, fanout)
    except backlog.Unknown as reason:
        return {**found, "tasks": _tasks(requests, lambda _exchange, key: [key]), "problem": str(reason)}
    found["tasks"] = _tasks(requests, lambda exchange, key: backlog.homes(channel, exchange, key, fanout))
    before = time.time()
    seconds, microseconds = channel.client.time()
    found["broker_skew"] = skew(before, seconds + microseconds / 1e6, time.time())
    return found


def skew(before: float, told: float, after: float) -> float:
    """Seconds by which another clock is ahead of this one, at least; it was read between ``before`` and ``after``."""
    if before <= told <= after:
        return 0.0
    return round(told - (before if told < before else after), 3)


def _workers(app: Any, within: float) -> tuple[Json, list[tuple[str, str, Json]]]:
    """The workers that answer, and their requests as (worker, state, request)."""

    def ask(command: str, names: list[str] | None = None) -> Json:
        limit = len(names) if names else None
        replies = app.control.broadcast(command, destination=names, reply=True, timeout=within, limit=limit) or []
        return {name: reply for each in replies for name, reply in each.items()}

    # Nobody knows how many there are: for a ping the whole time is waited.
    names = sorted(ask("ping"))
    if not names:
        return {}, []
    stats, queues = ask("stats", names), ask("active_queues", names)
    before = time.time()
    probes, after = ask("celeryops_probe", names), time.time()
    states = {state: ask(state, names) for state in ("active", "reserved", "scheduled")}
    told = [
        (name, state, one["request"] if state == "scheduled" else one)
        for state, replies in states.items()
        for name, reply in replies.items()
        # A worker that could not answer says {"error": ...}.
        if isinstance(reply, list)
        for one in reply
    ]
    counts = Counter((name, state) for name, state, _request in told)
    workers = {}
    for name in names:
        pool = stats.get(name, {}).get("pool", {})
        processes = pool.get("processes")
        kind = pool.get("implementation", "").partition(":")[0].rpartition(".")[2]
        clock = probes.get(name, {}).get("time")
        workers[name] = {
            # The module is celery.concurrency.thread, the pool --pool=threads.
            "kind": {"thread": "threads"}.get(kind, kind) or None,
            "concurrency": pool.get("max-concurrency"),
            # Only prefork has processes beside the main one.
            "processes": len(processes) if isinstance(processes, list) else None,
            "prefetch": stats.get(name, {}).get("prefetch_count"),
            "uptime": stats.get(name, {}).get("uptime"),
            "queues": sorted(queue["name"] for queue in queues.get(name) or [] if "name" in queue),
            "clock_skew": None if clock is None else skew(before, clock, after),
            **{state: counts[name, state] for state in states},
        }
    return workers, told


def _tasks(requests: list[tuple[str, str, Json]], home: Callable[[str, str], Iterable[str]]) -> list[Json]:
    """How many of each task are in which state, and the queues they came from."""
    seen: Counter[tuple[str, str, str, bool]] = Counter()
    for _worker, state, request in requests:
        delivery = request.get("delivery_info") or {}
        for queue in home(delivery.get("exchange") or "", delivery.get("routing_key") or ""):
            seen[request["type"], queue, state, bool(request["acknowledged"])] += 1
    return [
        {"task": task, "queue": queue, "state": state, "acknowledged": acknowledged, "count": count}
        for (task, queue, state, acknowledged), count in sorted(seen.items())
    ]
