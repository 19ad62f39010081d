# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""New credentials while the old ones still work: the database first, then the Secret that says who signs in."""

from __future__ import annotations

import datetime
import json
import secrets
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._postgres import plan, scram
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import Credentials, PatroniCluster

__all__ = ["Target", "age_in_days", "rotate"]

_LENGTH = 32
_CHARACTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class Target:
    """A role and its Secret. A `system` role is known to Patroni by name, so it keeps its name and has one password."""

    name: str
    secret: str
    system: bool = False


def age_in_days(since: str, now: datetime.datetime) -> float:
    """Days since a time as Kubernetes writes it; without one, as old as can be."""
    if not since:
        return float("inf")
    return (now - datetime.datetime.fromisoformat(since.replace("Z", "+00:00"))).total_seconds() / 86400


def rotate(
    cluster: PatroniCluster,
    targets: Iterable[Target],
    result: dict[str, Any],
    *,
    grace: int,
    older_than: float,
    check: bool,
    timeout: float,
) -> None:
    """Fills `rotated` of the result, one entry for each role that got new credentials or, in check mode, would.

    `grace` is in seconds, `older_than` in days. A Secret that is not there is made by whoever applies the cluster.
    """
    now = datetime.datetime.now(datetime.UTC)
    due = []
    for target in targets:
        found = cluster.credentials(target.secret, target.name)
        if found is not None and age_in_days(found.since, now) >= older_than:
            due.append((target, found))
    if not due or not cluster.exists():
        return
    leader = cluster.wait_for_leader(timeout)
    for target, found in due:
        user = _rotate(cluster, leader, target, found, grace, now, check=check)
        result["changed"] = True
        result["rotated"].append({"role": target.name, "before": found.username, "after": user})


def _rotate(
    cluster: PatroniCluster,
    leader: str,
    target: Target,
    found: Credentials,
    grace: int,
    now: datetime.datetime,
    *,
    check: bool,
) -> str:
    password = "".join(secrets.choice(_CHARACTERS) for _number in range(_LENGTH))
    if target.system:
        sql = f"ALTER ROLE \"{target.name}\" PASSWORD '{scram.make_secret(password)}';"
        change, user = plan.Change("role", target.name, "password", sql), target.name
    else:
        state = plan.observed(json.loads(cluster.sql(leader, plan.OBSERVE)))
        change, user = plan.rotate(state, target.name, found.username, password, grace)
    if check:
        return user
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    # Should the second step fail, what was valid is valid still, and for a system role the Secret wins at the next run.
    cluster.sql(leader, plan.script([change]))
    cluster.write_credentials(target.secret, found, user, password, stamp)
    return user
