# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dead letters, from inside a worker's container.

The names and scripts in Redis are
those of the probe that the container has on its path, and so always those of its worker.
"""

# The container has Celery and the probe, the controller has not: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import contextlib
import io
from typing import Any

__all__ = ["main"]


def main(options: dict[str, Any]) -> dict[str, Any]:
    """Options: app; do: list, requeue or purge; tags; arguments. Answer: letters, or the tags that were moved."""
    from celery.app.utils import find_app

    with contextlib.redirect_stdout(io.StringIO()):
        from celeryops_probe import letters
        from celeryops_probe.holding import plain_client
        from celeryops_probe.ledger import Ledger

        app = find_app(options["app"])
        limits = {"socket_timeout": 10, "socket_connect_timeout": 10}
        transport = {**(app.conf.broker_transport_options or {}), **limits}
        with app.connection_for_write(transport_options=transport) as connection:
            connection.ensure_connection(max_retries=1)
            channel = connection.channel()
            if connection.transport.driver_type != "redis":
                return {"letters": [], "moved": []}
            ledger, client = Ledger(channel), plain_client(channel)
            moved: list[str] = []
            if options["do"] == "requeue":
                moved = letters.requeue(ledger, client, options["tags"])
            elif options["do"] == "purge":
                moved = letters.purge(ledger, client, options["tags"])
            return {"letters": letters.listed(app, ledger, client, channel, options["arguments"]), "moved": moved}
