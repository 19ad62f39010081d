# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings what a cluster holds to what it should hold: look, plan, apply, look again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import patroni, plan
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

__all__ = ["Desired", "Outcome", "converge"]

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Desired:
    """`roles` are (name, Secret, system) triples; `configuration` is merged into Patroni's."""

    roles: tuple[tuple[str, str, bool], ...]
    databases: tuple[plan.Database, ...]
    pooler: str | None
    configuration: Mapping[str, Any]

    @property
    def parameters(self) -> Mapping[str, Any]:
        return dict((self.configuration.get("postgresql") or {}).get("parameters") or {})


@dataclass
class Outcome:
    """What was done so far; filled step by step, so that a failure still says what went before it."""

    leader: str | None = None
    complete: bool = False
    changes: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "changed": bool(self.changes),
            "leader": self.leader,
            "complete": self.complete,
            "changes": self.changes,
            "diff": {"before": self.before, "after": self.after},
        }


def converge(
    cluster: PatroniCluster, desired: Desired, outcome: Outcome, *, check: bool, timeout: float, ahead: bool = False
) -> None:
    """Writes into `outcome` what is, or in check mode would be, changed. Raises CeleryOpsError.

    `ahead` of the objects, a cluster without a ready leader is left for later: it may need these objects first.
    """
    fresh = not cluster.exists()
    if ahead and (fresh or not cluster.has_leader()):
        return
    if not fresh:
        outcome.leader = cluster.wait_for_leader(timeout)
    elif not check:
        raise CeleryOpsError(
            f"There is no PostgreSQL cluster '{cluster.name}' in namespace {cluster.namespace}",
            expected=f"StatefulSet {cluster.name}",
            found="none",
            remedy="Run the role postgresql from its beginning.",
        )
    answer = json.loads(cluster.sql(outcome.leader, plan.OBSERVE)) if outcome.leader else {}
    state = plan.observed(answer)
    changes = plan.plan(state, _roles(cluster, desired, check), desired.databases, desired.pooler)
    if changes and outcome.leader and not check:
        cluster.sql(outcome.leader, plan.script(changes))
    for change in changes:
        outcome.changes.append(change.summary())
        key = f"{change.kind} {change.name}"
        outcome.before[key] = "absent" if change.action == "created" else f"other {change.action}"
        outcome.after[key] = ", ".join((change.action, *change.detail))
    # After the statements: what it may ask for is that commits wait, for replicas that are yet to come.
    _configuration(cluster, desired, outcome, fresh=fresh, check=check)
    if not fresh:
        _restarts(cluster, desired, outcome, check=check, timeout=timeout)
    outcome.complete = True


def _roles(cluster: PatroniCluster, desired: Desired, check: bool) -> list[plan.Role]:
    roles = []
    for name, secret, system in desired.roles:
        found = cluster.credentials(secret, name)
        if found is None and not check:
            raise CeleryOpsError(
                f"The password of role '{name}' is not to be found",
                expected=f"Secret {secret} in namespace {cluster.namespace}",
                found="no such Secret",
                remedy="Run the role postgresql from its beginning: it generates its Secrets.",
            )
        # A Secret that a real run would make first holds a password that no stored secret matches.
        password, user = (found.password, found.username) if found else ("", name)
        roles.append(plan.Role(name, password, system, user))
    return roles


def _configuration(cluster: PatroniCluster, desired: Desired, outcome: Outcome, *, fresh: bool, check: bool) -> None:
    if fresh:
        return  # the first start takes it from its own file
    current = cluster.configuration()
    wanted = patroni.merged(current, desired.configuration)
    paths = patroni.differences(current, wanted)
    if not paths:
        return
    if not check:
        cluster.write_configuration(wanted)
    outcome.changes.append({"kind": "configuration", "name": cluster.name, "action": "written", "detail": list(paths)})
    outcome.before["configuration"] = current
    outcome.after["configuration"] = wanted


def _lagging(cluster: PatroniCluster, wanted: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The pods whose PostgreSQL runs with other shared parameters, and the values it runs with."""
    ready = [member.pod for member in cluster.members() if member.ready]
    with ThreadPoolExecutor(max(1, len(ready))) as pool:
        running = pool.map(lambda pod: json.loads(cluster.sql(pod, plan.SETTINGS)), ready)
        found = {pod: patroni.other_values(wanted, settings) for pod, settings in zip(ready, running, strict=True)}
    return {pod: values for pod, values in found.items() if values}


def _restarts(cluster: PatroniCluster, desired: Desired, outcome: Outcome, *, check: bool, timeout: float) -> None:
    """Restarts the members that run with other shared parameters than the configuration names."""
    lagging = _lagging(cluster, desired.parameters)
    if not lagging:
        return
    pods = list(lagging) if check else []
    deadline = time.monotonic() + timeout
    while not check and lagging:
        leader = cluster.wait_for_leader(timeout)
        waiting = {member.pod for member in cluster.members() if member.pending_restart}
        for pod in patroni.restart_now(desired.parameters, lagging, waiting, leader):
            cluster.restart(pod)
            pods.append(pod)
        outcome.leader = cluster.wait_for_leader(timeout)
        lagging = _lagging(cluster, desired.parameters)
        if lagging and time.monotonic() > deadline:
            pod, values = next(iter(lagging.items()))
            raise CeleryOpsError(
                f"PostgreSQL in pod '{pod}' still runs with other values of shared parameters",
                expected=", ".join(f"{name}={desired.parameters[name]}" for name in values),
                found=", ".join(f"{name}={value}" for name, value in values.items()),
                remedy="Patroni refuses values below its minimum and keeps the old ones: see its log.",
            )
        if lagging:
            time.sleep(_POLL_SECONDS)
    outcome.changes.append({"kind": "restart", "name": cluster.name, "action": "restarted", "detail": pods})
