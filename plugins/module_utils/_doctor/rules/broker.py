# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker as a client of its URL meets it: who answers, and what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Pod

__all__ = ["RULES"]

_TO_MASTER = "run site.yml with --tags celery: redis_master proves the master and writes it into CELERY_BROKER_URL"
_TIMEOUTS = (
    "broker_transport_options socket_connect_timeout=5 and socket_timeout=5 make each retry show and let SIGTERM work"
)


@dataclass(frozen=True)
class _Saying:
    """What a broker, or the way to it, says: by an answer to a client, or by a line of a log.

    `probe`: by what its own readiness probe is told, where a proxy in between takes the server for dead.
    `either`: by an answer that fits other causes too, where a log says that it is this one.
    """

    cause: str
    title: str
    answer: str
    log: str
    remedy: str
    probe: str = ""
    either: str = ""


_OURS = r"(?i:broker|redis|consumer: |kombu|beat: connection error).*"
_SAYINGS = (
    _Saying(
        "broker-name",
        "The name in the broker URL does not resolve",
        r"does not resolve|Name or service not known|name resolution|No address associated|Error -\d+ connecting",
        _OURS + r"(Name or service not known|name resolution|No address associated|Error -\d+ connecting)",
        "kubectl get service, and correct CELERY_BROKER_URL: " + _TO_MASTER,
    ),
    _Saying(
        "broker-unreachable",
        "Nothing takes connections where the broker URL points",
        r"refused|Error 111|No route to host|unreachable",
        _OURS + r"(Connection refused|Error 111|No route to host|Network is unreachable)",
        "see that Redis runs and that its Service has endpoints (kubectl get pods,endpointslices); port and host in "
        "CELERY_BROKER_URL; site.yml with --tags redis,celery puts both right",
    ),
    _Saying(
        "redis-maxclients",
        "Redis takes no more connections: maxclients is reached",
        r"max number of clients",
        r"max number of clients",
        "lower celery_worker_replicas or celery_worker_concurrency: a worker holds 8 connections and one more for each "
        "process. Once one is free CLIENT LIST names who holds most, and CONFIG SET maxclients 10000 makes room; where "
        "Redis had lowered it by itself, the limit of open files (ulimit -n) is too low",
        probe=r"max number of clients",
    ),
    _Saying(
        "broker-login",
        "Redis refuses the password, or wants one",
        r"NOAUTH|WRONGPASS|invalid username-password|Authentication required|without any password configured",
        r"NOAUTH|WRONGPASS|invalid username-password|AuthenticationError|without any password configured",
        "give the pods the password of Redis (celery_app_redis_secret), run site.yml with --tags redis,celery",
    ),
    _Saying(
        "broker-tls",
        "The broker URL asks for TLS, and the port speaks none, or the other way round",
        r"SSL|TLS|certificate|WRONG_VERSION|rediss: .*(closed|no answer|timed out)",
        _OURS + r"(SSL|WRONG_VERSION|certificate verify failed)",
        "redis:// for a plain port, rediss:// for a TLS one; where the certificate is not accepted, site.yml with "
        "--tags redis says what is wrong with that of redis_tls_secret; " + _TIMEOUTS,
    ),
    _Saying(
        "broker-black-hole",
        "Connections to the broker get no answer at all: packets are dropped on the way",
        r"Timeout connecting|cannot be connected to within|Error 110",
        _OURS + r"(Timeout connecting|cannot be reached: timed out|Error 110)",
        "look for a NetworkPolicy or firewall in between (kubectl get networkpolicy) and the address; " + _TIMEOUTS,
        # What redis-cli says when its time is over: it may have been connected or not.
        either=r"no answer within the time limit",
    ),
    _Saying(
        "broker-silent",
        "The broker accepts connections and never answers",
        r"Timeout reading|no answer|did not answer|closed the connection|is no Redis",
        _OURS + r"(Timeout reading from|no answer to [A-Z]+ within|is no Redis)",
        "see what listens there: CELERY_BROKER_URL may name another port, one that wants TLS, or a Redis that is "
        "frozen; " + _TIMEOUTS,
    ),
    _Saying(
        "redis-memory",
        "Redis refuses writes: its maxmemory is used up",
        r"OOM command not allowed",
        r"OOM command not allowed",
        "raise the memory limit in redis_resources (maxmemory is redis_maxmemory_percent of it), or find what fills "
        "it: "
        "queues without a consumer, results that never expire",
    ),
    _Saying(
        "redis-persistence",
        "Redis refuses writes: it cannot save its data",
        r"MISCONF",
        r"MISCONF Redis is configured to save",
        "make room on the volume of Redis (redis_storage_size): it takes writes again after the next save that works",
    ),
    _Saying(
        "redis-replicas",
        "Redis refuses writes: it has too few replicas that follow",
        r"NOREPLICAS",
        r"NOREPLICAS",
        "see why the replicas do not follow (celeryops.platform.redis_master_info), or lower "
        "redis_min_replicas_to_write",
    ),
)
_READ_ONLY = r"read only replica|ReadOnlyError|READONLY|reached a (slave|replica)"


@dataclass(frozen=True)
class _Ask:
    """New connections to one URL: the roles that answered, and the errors of those that got none."""

    url: str
    source: str
    roles: tuple[str, ...]
    errors: tuple[str, ...]
    workloads: tuple[str, ...]

    @property
    def evidence(self) -> Evidence:
        counts = [f"{self.roles.count(role)} reached a {role}" for role in dict.fromkeys(self.roles)]
        told = "; ".join([*counts, *dict.fromkeys(self.errors)])
        return Evidence(
            self.source, trimmed(f"{len(self.roles) + len(self.errors)} new connections to {self.url}: {told}")
        )


def _asks(seen: Snapshot) -> list[_Ask]:
    inside = [
        _ask(answer, f"the application's own connection, from pod/{visit['pod']}", tuple(visit["workloads"]))
        for visit, answer in seen.visited("broker")
    ]
    return inside + [_ask(one, f"redis-cli in pod/{one['pod']}", tuple(one["workloads"])) for one in seen.asked]


def _ask(answer: dict[str, Any], source: str, workloads: tuple[str, ...]) -> _Ask:
    url = str(answer["url"])
    scheme = "rediss: " if url.startswith("rediss:") else ""
    return _Ask(url, source, tuple(answer["roles"]), tuple(f"{scheme}{error}" for error in answer["errors"]), workloads)


def _affected(seen: Snapshot, asks: list[_Ask]) -> tuple[Pod, ...]:
    names_ = {name for one in asks for name in one.workloads}
    return tuple(pod for pod in _speakers(seen) if pod.workload in names_)


def _heard(asks: list[_Ask]) -> str:
    """What speaks for the broker; empty when nothing does."""
    good = [one for one in asks if one.roles and not one.errors and set(one.roles) <= {"master", "connected"}]
    if not good or len(good) < len(asks):
        return ""
    return (
        f"{len(good[0].roles)} of {len(good[0].roles)} new connections to {good[0].url} reached the {good[0].roles[0]}"
    )


def role(seen: Snapshot) -> Iterator[Verdict]:
    """A replica, or a name that leads to one now and then."""
    asks = _asks(seen)
    replicas = [one for one in asks if one.roles and set(one.roles) == {"replica"}]
    mixed = [one for one in asks if {"master", "replica"} <= set(one.roles)]
    pods, said = quotes(_speakers(seen), _READ_ONLY)
    heard = _heard(asks)
    for cause, found, title in (
        ("broker-replica", replicas, "The broker URL leads to a replica, which takes no writes"),
        ("broker-balanced", mixed, "The broker URL leads to the master and to replicas by turns"),
    ):
        if found:
            affected = tuple(dict.fromkeys((*_affected(seen, found), *pods)))
            yield Finding(
                cause,
                f"{title}: {found[0].url}",
                Stage.BROKER,
                Confidence.CERTAIN,
                (*(one.evidence for one in found[:2]), *said[:2]),
                _TO_MASTER,
                explained(affected),
            )
        elif cause == "broker-replica" and pods and not mixed:
            yield Finding(
                cause,
                f"{names(pods)} wrote to a replica",
                Stage.BROKER,
                Confidence.POSSIBLE if heard else Confidence.LIKELY,
                (*said, *(one.evidence for one in asks[:1])),
                f"{_TO_MASTER}. Where it does already, CELERY_RESULT_BACKEND or an earlier master is meant",
                explained(pods),
            )
        elif heard or any(one.roles for one in asks):
            yield RuledOut(cause, heard or "a client of the URL met something else")
        else:
            yield Unseen(cause, seen.gap("broker") or "no connection to the broker's URL was answered with a role")


def _speakers(seen: Snapshot) -> tuple[Pod, ...]:
    """Pods in trouble, and beats: one whose broker takes nothing ticks on as if nothing were."""
    return tuple(dict.fromkeys((*seen.started("worker", "beat"), *seen.pods("beat"))))


def sayings(seen: Snapshot) -> Iterator[Verdict]:
    asks = _asks(seen)
    heard = _heard(asks)
    taken: set[_Ask] = set()
    for one in _SAYINGS:
        pods, said = quotes(seen.started("worker", "beat"), one.log)
        answer = f"{one.answer}|{one.either}" if one.either and pods else one.answer
        told = [ask for ask in asks if ask not in taken and any(re.search(answer, error) for error in ask.errors)]
        probes = _probes(seen, one.probe) if one.probe else ()
        if probes:
            told = [ask for ask in asks if ask.errors]
        # Of one answer the first rule that knows it speaks: the more special ones come first.
        taken |= set(told)
        if told or probes:
            affected = tuple(dict.fromkeys((*_affected(seen, told), *pods, *(pod for pod, _event in probes))))
            yield Finding(
                one.cause,
                f"{one.title} ({told[0].url})" if told else one.title,
                Stage.BROKER,
                Confidence.CERTAIN,
                (*(event for _pod, event in probes[:1]), *(ask.evidence for ask in told[:2]), *said[:2]),
                one.remedy,
                explained(affected),
            )
        elif pods:
            yield Finding(
                one.cause,
                f"{one.title}, says {names(pods)}",
                Stage.BROKER,
                Confidence.POSSIBLE if heard else Confidence.LIKELY,
                said,
                one.remedy,
                explained(pods),
                # A client that is refused now says what is wrong better than a line of before.
                consequence=any(ask.errors for ask in asks),
            )
        elif heard:
            yield RuledOut(one.cause, heard)
        elif any(ask.errors or ask.roles for ask in asks):
            yield RuledOut(one.cause, "a client of the URL met something else")
        else:
            yield Unseen(one.cause, seen.gap("broker") or "nobody could be asked for a connection to the broker")


def _probes(seen: Snapshot, pattern: str) -> tuple[tuple[Pod, Evidence], ...]:
    """What the probes of pods that are not ready were told."""
    return tuple(
        (pod, Evidence(event.source, trimmed(event.message)))
        for pod in seen.pods("other")
        if not pod.ready
        for event in seen.events_of("Pod", pod.name, "Unhealthy")
        if re.search(pattern, event.message)
    )


RULES: tuple[Rule, ...] = (role, sayings)
