# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leader, members, and what a client gets from each endpoint of a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
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
# For the poolers in front of replicas.
_READ = """
SELECT json_build_object('server', host(inet_server_addr()), 'version', split_part(version(), ' ', 2),
  'recovery', pg_is_in_recovery(), 'writable', current_setting('transaction_read_only') = 'off');
"""


def describe(
    cluster: PatroniCluster, endpoints: Iterable[Mapping[str, str]], *, wait: float, synchronous: bool = False
) -> dict[str, Any]:
    """The result of postgresql_cluster_info. Asks for `wait` seconds again what does not answer as it should.

    `synchronous` says whether there has to be a replica for which commits wait.
    """
    deadline = time.monotonic() + wait
    if not cluster.exists():
        return {"exists": False, "leader": None, "members": [], "synchronous": [], "endpoints": []}

    def answer(endpoint: Mapping[str, str]) -> dict[str, Any]:
        found = _ask(cluster, cluster.leader(), endpoint)
        while not found["passed"] and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            found = _ask(cluster, cluster.leader(), endpoint)
        return found

    asked = list(endpoints)
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = list(pool.map(answer, asked))
    # Patroni names one when it next looks at a replica that has caught up.
    while synchronous and not cluster.synchronous() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return {
        "exists": True,
        "leader": cluster.leader(),
        "members": [member.as_dict() for member in cluster.members()],
        "synchronous": list(cluster.synchronous()),
        "endpoints": answers,
    }


def _ask(cluster: PatroniCluster, leader: str | None, endpoint: Mapping[str, str]) -> dict[str, Any]:
    named = {key: endpoint[key] for key in ("host", "database", "user")}
    reading = endpoint.get("access") == "read"
    shown = {**named, "access": "read" if reading else "write"}
    failed = {**shown, "passed": False, "writable": False, "server": None, "version": None}
    if leader is None:
        return {**failed, "error": "nobody holds the lock, so there is no pod to ask from"}
    try:
        found = cluster.credentials(endpoint["secret"], endpoint["user"])
        if found is None:
            return {**failed, "error": f"there is no Secret {endpoint['secret']}"}
        signing = {**named, "user": found.username, "password": found.password}
        printed = cluster.sql_as(leader, _READ if reading else _WRITE, **signing)
    except CeleryOpsError as error:
        return {**failed, "error": error.found or error.message}
    answer = json.loads(printed)
    writable = bool(answer["writable"]) if reading else not answer["recovery"]
    return {
        **shown,
        # A pooler in front of replicas may lead to one that was just promoted, but nobody writes through it.
        "passed": writable is not reading,
        "writable": writable,
        "server": answer["server"],
        "version": answer["version"],
        "error": None,
    }
