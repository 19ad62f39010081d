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
from typing import Any

__all__ = ["main"]


def main(options: dict[str, Any]) -> dict[str, Any]:
    """Options: app, run; do: send, read or clear; for send also task, queue, argument, holds.

    Answer: ids of what was sent, the workers that keep records, and what they have recorded of the run.
    """
    from celery.app.utils import find_app

    with contextlib.redirect_stdout(io.StringIO()):
        from celeryops_probe.holding import plain_client
        from celeryops_probe.ledger import DRILL, Ledger

        app = find_app(options["app"])
        limits = {"socket_timeout": 10, "socket_connect_timeout": 10}
        transport = {**(app.conf.broker_transport_options or {}), **limits}
        with app.connection_for_write(transport_options=transport) as connection:
            connection.ensure_connection(max_retries=1)
            if connection.transport.driver_type != "redis":
                raise RuntimeError("the workers keep records on Redis only")
            channel = connection.channel()
            ledger, client = Ledger(channel), plain_client(channel)
            run, sent = options["run"], []
            if options["do"] == "send":
                where = {"queue": options["queue"]} if options["queue"] else {}
                for hold in options["holds"]:
                    given = {options["argument"]: hold} if options["argument"] else {}
                    message = app.send_task(options["task"], kwargs=given, headers={DRILL: run}, **where)
                    sent.append(message.id)
            elif options["do"] == "clear":
                client.delete(ledger.drill(run))
            return {
                "sent": sent,
                "workers": [worker.decode() for worker in client.zrange(ledger.workers, 0, -1)],
                "lines": [json.loads(line) for line in client.lrange(ledger.drill(run), 0, -1)],
            }
