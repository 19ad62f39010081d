# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill's tasks, sent and read from inside a worker's container.

The workers record the starts and ends of
tasks that carry the drill's header, whatever the task: the application knows nothing of drills.
"""

# The container has Celery and the probe, the controller has not: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import io
import json
import time
from collections.abc import Callable
from typing import Any

__all__ = ["busy", "main"]

# Seconds between two looks at the records
PAUSE = 0.2


def main(options: dict[str, Any]) -> dict[str, Any]:
    """Options: app, run, and do.

    send: task, queue, argument, rounds (lists of seconds), enough. Sends a round, and a further one where all is done,
    until some pod will run a task for more than so many seconds. Answer: sent, for each task its id, its seconds and
    when it was sent; busy, those pods with the seconds that are left; now. Times are by Redis' clock, as records are.
    read: count, wait. Returns when so many tasks have ended, or after so many seconds. Answer: lines, as recorded.
    clear: forgets the run.
    """
    from celery.app.utils import find_app

    with contextlib.redirect_stdout(io.StringIO()):
        from celeryops_probe.holding import plain_client
        from celeryops_probe.ledger import Ledger

        app = find_app(options["app"])
        limits = {"socket_timeout": 10, "socket_connect_timeout": 10}
        transport = {**(app.conf.broker_transport_options or {}), **limits}
        with app.connection_for_write(transport_options=transport) as connection:
            connection.ensure_connection(max_retries=1)
            if connection.transport.driver_type != "redis":
                raise RuntimeError("the workers keep records on Redis only")
            channel = connection.channel()
            ledger, client = Ledger(channel), plain_client(channel)
            key = ledger.drill(options["run"])

            def lines() -> list[dict[str, Any]]:
                return [json.loads(line) for line in client.lrange(key, 0, -1)]

            def now() -> float:
                seconds, microseconds = client.time()
                return float(seconds + microseconds / 1_000_000)

            if options["do"] == "send":
                if not client.zcard(ledger.workers):
                    return {"sent": [], "busy": {}, "workers": 0}
                sent = _send(app, options, lines, now)
                return {**sent, "now": now(), "workers": client.zcard(ledger.workers)}
            if options["do"] == "read":
                end = time.monotonic() + options["wait"]
                while _ended(lines()) < options["count"] and time.monotonic() < end:
                    # Workers add lines to a list, which nobody can wait for without taking from it.
                    time.sleep(PAUSE)
                return {"lines": lines()}
            client.delete(key)
            return {}


def _send(
    app: Any, options: dict[str, Any], lines: Callable[[], list[dict[str, Any]]], now: Callable[[], float]
) -> dict[str, Any]:
    from celeryops_probe.ledger import DRILL

    where = {"queue": options["queue"]} if options["queue"] else {}
    sent: dict[str, float] = {}
    times: dict[str, float] = {}
    found: dict[str, float] = {}
    before = _ended(lines())
    for holds in options["rounds"]:
        for hold in holds:
            given = {options["argument"]: hold} if options["argument"] else {}
            # Before it is sent, as it may start before this goes on
            at = now()
            message = app.send_task(options["task"], kwargs=given, headers={DRILL: options["run"]}, **where)
            sent[message.id], times[message.id] = hold, at
        while not found and _ended(lines()) < before + len(sent):
            found = {pod: left for pod, left in busy(lines(), sent).items() if left > options["enough"]}
            # As above: the lines are looked for.
            time.sleep(PAUSE)
        if found:
            break
    return {"sent": [(task, hold, times[task]) for task, hold in sorted(sent.items())], "busy": found}


def _ended(lines: list[dict[str, Any]]) -> int:
    return len({line["id"] for line in lines if line["what"] == "ended"})


def busy(lines: list[dict[str, Any]], lengths: dict[str, float]) -> dict[str, float]:
    """Pod: for how many seconds it will run one of the tasks at least, by the newest line of each."""
    newest = {line["id"]: line for line in sorted(lines, key=lambda line: line["at"])}
    now = max((line["at"] for line in newest.values()), default=0.0)
    found: dict[str, float] = {}
    for task, line in newest.items():
        if line["what"] == "started" and task in lengths:
            pod = line["worker"].partition("|")[0].partition("@")[2]
            found[pod] = max(line["at"] + lengths[task] - now, found.get(pod, 0.0))
    return found
