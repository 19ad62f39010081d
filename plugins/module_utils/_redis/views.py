# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom Sentinels, proxies and Services take for the master, and where that is not the pod that says so itself."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["Endpoints", "Proxy", "Sentinel", "endpoint_faults", "majority", "proxy_faults", "routed", "sentinel_faults"]

_NO_TROUBLE = {"master", "disconnected"}


@dataclass(frozen=True)
class Sentinel:
    """One Sentinel's account, or why there is none. ``names`` is the host that it calls the master."""

    name: str
    ready: bool = False
    names: str = ""
    flags: tuple[str, ...] = ()
    epoch: int = 0
    replicas: int = 0
    others: int = 0
    error: str = ""

    def report(self) -> dict[str, Any]:
        return {**asdict(self), "flags": list(self.flags)}

    @classmethod
    def of(cls, name: str, ready: bool, facts: Mapping[str, str]) -> Sentinel:
        """From the answer to SENTINEL MASTER, which is empty where it watches over none."""
        return cls(
            name=name,
            ready=ready,
            names=facts.get("ip", "").rstrip("."),
            flags=tuple(sorted(filter(None, facts.get("flags", "").split(",")))),
            epoch=int(facts.get("config-epoch", 0)),
            replicas=int(facts.get("num-slaves", 0)),
            others=int(facts.get("num-other-sentinels", 0)),
        )


@dataclass(frozen=True)
class Proxy:
    """One proxy's account. ``masters`` are the pods that it sees as masters, ``named`` says how many Sentinels, as it
    sees them, call each the master, ``leads_to`` is where it leads new clients."""

    name: str
    ready: bool = False
    masters: tuple[str, ...] = ()
    named: Mapping[str, int] = field(default_factory=dict)
    leads_to: str = ""
    error: str = ""

    def report(self) -> dict[str, Any]:
        return {**asdict(self), "masters": list(self.masters), "named": dict(self.named)}

    @classmethod
    def of(cls, name: str, ready: bool, table: str, sentinels: int) -> Proxy:
        """From HAProxy's statistics as comma-separated values."""
        rows = list(csv.DictReader(table.removeprefix("# ").splitlines()))
        own = {row["svname"] for row in rows if row["svname"] == row["pxname"]}
        # A server that has not been checked yet counts as up, as it does for HAProxy.
        masters = tuple(
            sorted(row["svname"] for row in rows if row["svname"] in own and row["status"].startswith("UP"))
        )
        named = dict.fromkeys(sorted(own), 0)
        for row in rows:
            pod = f"redis-{row['pxname'].removeprefix('named-')}"
            if row["svname"] == "BACKEND" and row["pxname"].startswith("named-") and pod in named:
                named[pod] = int(row["act"] or 0)
        return cls(name, ready, masters, named, routed(masters, named, majority(sentinels)))


@dataclass(frozen=True)
class Endpoints:
    """A Service's EndpointSlices. ``ready`` are the pods that get connections, ``wanted`` those that should."""

    service: str
    ready: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    def report(self) -> dict[str, Any]:
        return {"service": self.service, "ready": list(self.ready), "wanted": list(self.wanted)}


def majority(count: int) -> int:
    return count // 2 + 1


def routed(masters: Sequence[str], named: Mapping[str, int], quorum: int) -> str:
    """The rule of haproxy.cfg: the choice of most Sentinels, else the only one unless most choose another."""
    for pod in masters:
        if named.get(pod, 0) >= quorum:
            return pod
    if len(masters) == 1 and all(count < quorum for pod, count in named.items() if pod not in masters):
        return masters[0]
    return ""


def sentinel_faults(sentinels: Sequence[Sentinel], wanted: int, master: str, host: str, replicas: int) -> Iterable[str]:
    """What disagrees with the pod ``master``, whose name is ``host``, and its number of replicas."""
    if len(sentinels) < wanted:
        yield f"{len(sentinels)} of {wanted} Sentinels exist"
    for one in sentinels:
        if one.error:
            yield f"{one.name} gives no account of itself: {one.error}"
            continue
        if not one.names:
            yield f"{one.name} watches over no master"
            continue
        if master and one.names != host:
            yield f"{one.name} calls {one.names} the master, {master} says that it is"
        trouble = sorted(set(one.flags) - _NO_TROUBLE)
        if trouble:
            yield f"{one.name} sees the master as {', '.join(trouble)}"
        if one.others < wanted - 1:
            yield f"{one.name} knows {one.others} of {wanted - 1} other Sentinels"
        if one.replicas < replicas:
            yield f"{one.name} knows {one.replicas} of {replicas} replicas"


def proxy_faults(proxies: Sequence[Proxy], wanted: int, master: str) -> Iterable[str]:
    ready = sum(1 for one in proxies if one.ready)
    if ready < wanted:
        yield f"{ready} of {wanted} proxies are ready"
    for one in proxies:
        if one.error:
            yield f"{one.name} gives no account of itself: {one.error}"
        elif not one.leads_to:
            seen, named = ", ".join(one.masters) or "no pod", dict(one.named)
            yield f"{one.name} leads clients nowhere: it sees {seen} as the master, and Sentinels name {named}"
        elif master and one.leads_to != master:
            yield f"{one.name} leads clients to {one.leads_to}, {master} says that it is the master"


def endpoint_faults(endpoints: Sequence[Endpoints]) -> Iterable[str]:
    for one in endpoints:
        missing, surplus = sorted(set(one.wanted) - set(one.ready)), sorted(set(one.ready) - set(one.wanted))
        if missing:
            yield f"Service {one.service} does not lead to {', '.join(missing)}, which may be led to"
        if surplus:
            yield f"Service {one.service} still leads to {', '.join(surplus)}"
        if not one.ready:
            yield f"Service {one.service} leads nowhere"
