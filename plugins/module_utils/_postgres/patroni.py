# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Patroni says about a cluster, read from the objects it keeps in the Kubernetes API."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Member", "differences", "leader", "member", "merged", "other_values", "restart_now", "synchronous"]

# Patroni's names of before version 4.
_ROLES = {"master": "primary"}


@dataclass(frozen=True)
class Member:
    """One pod as Patroni last described it; `role` is primary or replica, `state` Patroni's own word.

    `replication` is what a replica does with its primary's WAL (streaming, in archive recovery); empty for a primary.
    """

    pod: str
    node: str
    ready: bool
    role: str
    state: str
    timeline: int | None
    pending_restart: bool
    replication: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def leader(endpoints: Mapping[str, Any] | None) -> str | None:
    """The pod that holds the lock, out of the Endpoints of the primary's Service; None when nobody does."""
    annotations = ((endpoints or {}).get("metadata") or {}).get("annotations") or {}
    return annotations.get("leader") or None


def member(pod: Mapping[str, Any]) -> Member:
    """A pod with the state that Patroni wrote into its annotation `status`."""
    metadata = pod["metadata"]
    try:
        status = json.loads((metadata.get("annotations") or {}).get("status") or "{}")
    except ValueError:
        status = {}
    conditions = (pod.get("status") or {}).get("conditions") or []
    role = str(status.get("role", "unknown"))
    return Member(
        pod=metadata["name"],
        node=(pod.get("spec") or {}).get("nodeName") or "",
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        role=_ROLES.get(role, role),
        state=str(status.get("state", "unknown")),
        timeline=status.get("timeline"),
        pending_restart=bool(status.get("pending_restart")),
        replication=str(status.get("replication_state") or ""),
    )


def synchronous(endpoints: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The pods that hold every acknowledged commit beside the primary, out of the Endpoints with the suffix -sync."""
    annotations = ((endpoints or {}).get("metadata") or {}).get("annotations") or {}
    return tuple(sorted(name for name in (annotations.get("sync_standby") or "").split(",") if name))


def other_values(wanted: Mapping[str, Any], running: Mapping[str, str]) -> dict[str, str]:
    """The running values, as PostgreSQL writes them, of parameters for which others are wanted."""
    words = {True: "on", False: "off"}
    texts = {name: words[value] if isinstance(value, bool) else str(value) for name, value in wanted.items()}
    return {name: running[name] for name, text in texts.items() if name in running and running[name] != text}


def restart_now(
    wanted: Mapping[str, Any], lagging: Mapping[str, Mapping[str, str]], waiting: Collection[str], primary: str
) -> tuple[str, ...]:
    """The pods to restart next, of those that lag behind the wanted parameters and wait for a restart.

    A replica must not have less of something than its primary: what is lowered takes the primary first, and only
    its restart lets the replicas follow; what is raised takes the primary last.
    """
    ready = sorted(pod for pod in lagging if pod in waiting)
    if primary not in lagging:
        return tuple(ready)
    lowered = any(value.isdigit() and int(value) > int(wanted[name]) for name, value in lagging[primary].items())
    if lowered or len(lagging) == 1:
        return (primary,) if primary in ready else ()
    return tuple(pod for pod in ready if pod != primary)


def merged(current: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """`current` with `wanted` written over it, level by level; null takes a key away (Patroni's PATCH)."""
    result = dict(current)
    for key, value in wanted.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def differences(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> tuple[str, ...]:
    """The dotted paths at which two configurations differ."""
    found: list[str] = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        here = f"{path}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{here}.")
        elif old != new:
            found.append(here)
    return tuple(found)
