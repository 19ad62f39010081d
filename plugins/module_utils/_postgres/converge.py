# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings what a cluster holds to what it should hold: look, plan, apply, look again."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
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
    changes: list[dict[str, Any]] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return {
            "changed": bool(self.changes),
            "leader": self.leader,
            "changes": self.changes,
            "diff": {"before": self.before, "after": self.after},
        }


def converge(cluster: PatroniCluster, desired: Desired, outcome: Outcome, *, check: bool, timeout: float) -> None:
    """Writes into `outcome` what is, or in check mode would be, changed. Raises CeleryOpsError."""
    fresh = not cluster.exists()
    if not fresh:
        outcome.leader = cluster.wait_for_leader(timeout)
    elif not check:
        raise CeleryOpsError(
            f"There is no PostgreSQL cluster '{cluster.name}' in namespace {cluster.namespace}",
            expected=f"StatefulSet {cluster.name}",
            found="none",
            remedy="Run the role postgresql from its beginning.",
        )
    _configuration(cluster, desired, outcome, fresh=fresh, check=check)
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
    _restarts(cluster, desired, outcome, answer.get("settings") or {}, check=check, timeout=timeout)


def _roles(cluster: PatroniCluster, desired: Desired, check: bool) -> list[plan.Role]:
    roles = []
    for name, secret, system in desired.roles:
        password = cluster.password(secret, name)
        if password is None and not check:
            raise CeleryOpsError(
                f"The password of role '{name}' is not to be found",
                expected=f"Secret {secret} in namespace {cluster.namespace}",
                found="no such Secret",
                remedy="Run the role postgresql from its beginning: it generates its Secrets.",
            )
        # A Secret that a real run would make first holds a password that no stored secret matches.
        roles.append(plan.Role(name, password or "", system))
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


def _differing(wanted: Mapping[str, Any], running: Mapping[str, str]) -> tuple[str, ...]:
    words = {True: "on", False: "off"}
    return tuple(
        name
        for name, value in wanted.items()
        if name in running and running[name] != (words[value] if isinstance(value, bool) else str(value))
    )


def _restarts(
    cluster: PatroniCluster,
    desired: Desired,
    outcome: Outcome,
    running: Mapping[str, str],
    *,
    check: bool,
    timeout: float,
) -> None:
    """Restarts the members that run with other shared parameters than the configuration names."""
    differing = _differing(desired.parameters, running)
    if not differing:
        return
    pods: list[str] = []
    deadline = time.monotonic() + timeout
    while not check and differing:
        leader = cluster.wait_for_leader(timeout)
        waiting = patroni.restart_order(cluster.members(), leader)
        for pod in waiting:
            cluster.restart(pod)
            pods.append(pod)
        outcome.leader = cluster.wait_for_leader(timeout)
        settings = json.loads(cluster.sql(outcome.leader, plan.OBSERVE)).get("settings") or {}
        differing = _differing(desired.parameters, settings)
        if differing and time.monotonic() > deadline:
            raise CeleryOpsError(
                f"PostgreSQL still runs with other values of {', '.join(differing)}",
                expected=", ".join(f"{name}={desired.parameters[name]}" for name in differing),
                found=", ".join(f"{name}={settings[name]}" for name in differing),
                remedy="Patroni refuses values below its minimum and keeps the old ones: see its log.",
            )
        if differing:
            time.sleep(_POLL_SECONDS)
    outcome.changes.append(
        {"kind": "restart", "name": cluster.name, "action": "restarted", "detail": pods or list(differing)}
    )
