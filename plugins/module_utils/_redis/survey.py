# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on a set of Redis pods and Services: who is the master, and what disagrees with that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer
from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import MASTER, REPLICA, Replication
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import (
    Endpoints,
    Proxy,
    Sentinel,
    endpoint_faults,
    proxy_faults,
    sentinel_faults,
)

__all__ = ["ABSENT", "DEGRADED", "HEALTHY", "NO_MASTER", "TWO_MASTERS", "Pod", "Service", "Survey", "tally"]

ABSENT = "absent"
HEALTHY = "healthy"
DEGRADED = "degraded"
NO_MASTER = "no_master"
TWO_MASTERS = "two_masters"


@dataclass(frozen=True)
class Pod:
    """One pod and its own account, or the reason why there is none. ``host`` is its name under the headless Service."""

    name: str
    host: str
    address: str = ""
    node: str = ""
    ready: bool = False
    replication: Replication | None = None
    error: str = ""
    answers: tuple[Answer, ...] = ()

    @property
    def writable(self) -> bool:
        """Whether a client that used this pod's name was allowed to write."""
        return bool(self.answers) and all(answer.writable for answer in self.answers)

    @property
    def role(self) -> str:
        return self.replication.role if self.replication else ""

    def report(self) -> dict[str, Any]:
        """The pod as a module returns it."""
        said = self.replication
        return {
            "name": self.name,
            "host": self.host,
            "address": self.address,
            "node": self.node,
            "ready": self.ready,
            "role": self.role,
            "writable": self.writable,
            "connected_replicas": said.connected_replicas if said else 0,
            "master_host": said.master_host if said else "",
            "link": said.link if said else "",
            "loading": said.loading if said else False,
            "offset": said.offset if said else 0,
            "keys": said.keys if said else 0,
            "error": self.error,
        }


@dataclass(frozen=True)
class Service:
    """A Service and what new connections to it got. ``pods`` are those that its selector matches; where it is
    ``proxied`` they are no Redis pods, but lead to one."""

    name: str
    host: str
    port: int
    pods: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = ()
    error: str = ""
    proxied: bool = False


def tally(answers: Sequence[Answer], pods: Sequence[Pod]) -> dict[str, Any]:
    """Answers counted by role and by the pod that gave them, and each different refusal once."""
    names = {pod.replication.run_id: pod.name for pod in pods if pod.replication}
    roles = Counter(answer.role or "none" for answer in answers)
    by_pod = Counter(names.get(answer.run_id, "unknown") for answer in answers if answer.role)
    return {
        "connections": len(answers),
        "answers": {role: roles.get(role, 0) for role in (MASTER, REPLICA, "none")},
        "pods": dict(sorted(by_pod.items())),
        "writable": bool(answers) and all(answer.writable for answer in answers),
        "errors": sorted({answer.error for answer in answers if answer.error}),
    }


@dataclass(frozen=True)
class Survey:
    """All that was seen at one moment."""

    pods: tuple[Pod, ...]
    services: tuple[Service, ...] = ()
    wanted_pods: int = 0
    sentinels: tuple[Sentinel, ...] = ()
    wanted_sentinels: int = 0
    proxies: tuple[Proxy, ...] = ()
    wanted_proxies: int = 0
    endpoints: tuple[Endpoints, ...] = ()
    external: bool = False

    @property
    def masters(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods if pod.role == MASTER)

    @property
    def master(self) -> Pod | None:
        """The one master, or nothing when there is none or more than one."""
        return self.masters[0] if len(self.masters) == 1 else None

    @property
    def verdict(self) -> str:
        if self.external:
            return HEALTHY if all(self.writable(service) for service in self.services) else NO_MASTER
        if not self.pods and not self.wanted_pods:
            return ABSENT
        if not self.masters:
            return NO_MASTER
        if len(self.masters) > 1:
            return TWO_MASTERS
        return DEGRADED if self.disagreements else HEALTHY

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Each thing that does not fit with one master that all others follow, as a sentence."""
        found = [f"{pod.name} gives no account of itself: {pod.error}" for pod in self.pods if not pod.replication]
        masters = self.masters
        if len(self.pods) < self.wanted_pods:
            found.append(f"{len(self.pods)} of {self.wanted_pods} pods exist")
        if self.pods and not masters:
            found.append("no pod says that it is the master")
        if len(masters) > 1:
            found.append(
                "more than one pod says that it is the master: "
                + ", ".join(f"{pod.name} (keys: {pod.replication.keys})" for pod in masters if pod.replication)
            )
        if self.master:
            found += _refusals(self.master)
            for pod in self.pods:
                found += _replica_faults(pod, self.master)
            found += _count_faults(self.master, self.pods)
        found += [
            f"Service {service.name} cannot be asked: {service.error}" for service in self.services if service.error
        ]
        return (*found, *self._beside())

    def _beside(self) -> Iterator[str]:
        """What does not fit with what the pods say, in whoever leads clients to them."""
        name, host = (self.master.name, self.master.host) if self.master else ("", "")
        yield from sentinel_faults(self.sentinels, self.wanted_sentinels, name, host, self.wanted_pods - 1)
        yield from proxy_faults(self.proxies, self.wanted_proxies, name)
        yield from endpoint_faults(self.endpoints)
        for service in self.services:
            if service.proxied and not self.writable(service):
                seen = tally(service.answers, self.pods)
                words = "; ".join([str(seen["answers"]), *seen["errors"]])
                name = service.host if self.external else f"Service {service.name}"
                yield f"{name} does not lead every client to a writable master: {words}"

    def writable(self, service: Service) -> bool:
        """Whether every connection may write: all that were made could, and no replica stands behind the name."""
        behind = {pod.role for pod in self.pods if pod.name in service.pods}
        return (service.proxied or behind == {MASTER}) and bool(tally(service.answers, self.pods)["writable"])

    def report(self) -> dict[str, Any]:
        """The survey as a module returns it."""
        master = self.master
        return {
            "verdict": self.verdict,
            "master": {"pod": master.name, "host": master.host} if master else {},
            "disagreements": list(self.disagreements),
            "pods": [pod.report() for pod in self.pods],
            "services": [
                {
                    "name": service.name,
                    "host": service.host,
                    "port": service.port,
                    "selects": list(service.pods),
                    **tally(service.answers, self.pods),
                    "writable": self.writable(service),
                    **({"errors": [service.error]} if service.error else {}),
                }
                for service in self.services
            ],
            "sentinels": [sentinel.report() for sentinel in self.sentinels],
            "proxies": [proxy.report() for proxy in self.proxies],
            "endpoints": [endpoint.report() for endpoint in self.endpoints],
        }


def _refusals(master: Pod) -> list[str]:
    errors = sorted({answer.error for answer in master.answers if not answer.writable})
    return [f"{master.name} is the master, but a client of {master.host} cannot write: {error}" for error in errors]


def _replica_faults(pod: Pod, master: Pod) -> list[str]:
    said = pod.replication
    if not said or said.role != REPLICA:
        return []
    faults = []
    # A replica may have been told the name, the short name under the headless Service, or the address.
    names = {master.host, master.address, master.name, *(master.host.rsplit(".", cut)[0] for cut in (1, 2, 3, 4))}
    if said.master_host not in names:
        faults.append(f"{pod.name} follows {said.master_host}, which is not {master.name}")
    if said.link != "up":
        state = "is loading its data" if said.loading else f"has its link to the master {said.link or 'unknown'}"
        faults.append(f"{pod.name} {state}")
    return faults


def _count_faults(master: Pod, pods: Sequence[Pod]) -> list[str]:
    replicas = sum(1 for pod in pods if pod.role == REPLICA)
    connected = master.replication.connected_replicas if master.replication else 0
    if connected >= replicas:
        return []
    return [f"{master.name} counts {connected} connected replicas, the pods {replicas}"]
