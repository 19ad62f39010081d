# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leader, members, and what a client gets from each endpoint of a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

__all__ = ["describe"]

_POLL_SECONDS = 0.5

# One transaction, as a pooler in transaction mode wants it. Making a table writes to the catalogue and to the
# WAL, which a server in recovery refuses; with the commit the table is gone.
_WRITE = """
BEGIN;
SET LOCAL statement_timeout = '10s';
CREATE TEMPORARY TABLE celeryops_write_check (written bigint) ON COMMIT DROP;
INSERT INTO celeryops_write_check VALUES (txid_current());
SELECT json_build_object('server', host(inet_server_addr()), 'version', split_part(version(), ' ', 2),
  'recovery', pg_is_in_recovery(), 'transaction', written) FROM celeryops_write_check;
COMMIT;
"""


def describe(cluster: PatroniCluster, endpoints: Iterable[Mapping[str, str]], *, wait: float) -> dict[str, Any]:
    """The result of postgresql_cluster_info. Asks for `wait` seconds again what takes no write."""
    deadline = time.monotonic() + wait
    if not cluster.exists():
        return {"exists": False, "leader": None, "members": [], "endpoints": []}
    answers = []
    for endpoint in endpoints:
        answer = _ask(cluster, cluster.leader(), endpoint)
        while not answer["writable"] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            answer = _ask(cluster, cluster.leader(), endpoint)
        answers.append(answer)
    return {
        "exists": True,
        "leader": cluster.leader(),
        "members": [member.as_dict() for member in cluster.members()],
        "endpoints": answers,
    }


def _ask(cluster: PatroniCluster, leader: str | None, endpoint: Mapping[str, str]) -> dict[str, Any]:
    named = {key: endpoint[key] for key in ("host", "database", "user")}
    failed = {**named, "writable": False, "server": None, "version": None}
    if leader is None:
        return {**failed, "error": "nobody holds the lock, so there is no pod to ask from"}
    try:
        password = cluster.password(endpoint["secret"], endpoint["user"])
        if password is None:
            return {**failed, "error": f"there is no Secret {endpoint['secret']}"}
        printed = cluster.sql_as(leader, _WRITE, password=password, **named)
    except CeleryOpsError as error:
        return {**failed, "error": error.found or error.message}
    answer = json.loads(printed)
    return {
        **named,
        "writable": not answer["recovery"],
        "server": answer["server"],
        "version": answer["version"],
        "error": None,
    }
