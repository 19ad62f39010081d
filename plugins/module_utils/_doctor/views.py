# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workloads, pods and containers as the rules see them, made from a snapshot's objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

__all__ = ["Container", "Event", "Pod", "Workload", "command_of", "role_of", "seconds_between", "workloads_of"]

Json = Mapping[str, Any]
# Reasons for which a container waits when all goes well
_PATIENT = ("ContainerCreating", "PodInitializing")
# A pod that is not ready is no trouble for so many seconds, unless it says what is wrong: it starts, or is slow.
STARTING = 120.0
# Seconds that a pod is given to answer its first remote control
SETTLED = 60.0
# A pod that is ready but has ended more often than this within so many seconds will end again.
RESTLESS = 3
RECENTLY = 600.0


class Source(Protocol):
    """The part of a snapshot that the views are made from."""

    @property
    def taken(self) -> str: ...

    @property
    def workers(self) -> tuple[str, ...]: ...

    @property
    def beats(self) -> tuple[str, ...]: ...

    @property
    def logs(self) -> tuple[dict[str, Any], ...]: ...

    def kind(self, kind: str) -> tuple[dict[str, Any], ...]: ...

    def age(self, moment: str | None) -> float: ...

    def events_of(self, kind: str, name: str, *reasons: str) -> tuple[Event, ...]: ...


def seconds_between(earlier: str | None, later: str | None) -> float:
    """Seconds from one RFC 3339 time to another; 0 where one is missing."""
    if not earlier or not later:
        return 0.0
    first, last = (datetime.fromisoformat(moment.replace("Z", "+00:00")) for moment in (earlier, later))
    return (last - first).total_seconds()


@dataclass(frozen=True)
class Event:
    """What a component said of an object; `age` is how many seconds ago it last did."""

    kind: str
    name: str
    reason: str
    message: str
    count: int
    age: float

    @classmethod
    def of(cls, obj: Json, now: str) -> Event:
        about = obj.get("involvedObject") or {}
        series = obj.get("series") or {}
        last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
        return cls(
            kind=str(about.get("kind") or ""),
            name=str(about.get("name") or ""),
            reason=str(obj.get("reason") or ""),
            message=" ".join(str(obj.get("message") or "").split()),
            count=int(series.get("count") or obj.get("count") or 1),
            age=seconds_between(last or (obj.get("metadata") or {}).get("creationTimestamp"), now),
        )

    @property
    def source(self) -> str:
        return f"event {self.reason} of {self.kind.lower()}/{self.name}"


@dataclass(frozen=True, eq=False)
class Container:
    """One container of a pod: how it is, how its last run ended, and what it said. Times in seconds."""

    pod: str
    name: str
    init: bool
    # running, waiting, terminated; empty for one that was never started
    state: str = ""
    reason: str = ""
    message: str = ""
    # Of the run that ended last; None when none did
    exit_code: int | None = None
    exit_reason: str = ""
    exit_message: str = ""
    ended: float | None = None
    ran_for: float | None = None
    restarts: int = 0
    ready: bool = False
    spec: Json = field(default_factory=dict)
    log: tuple[str, ...] = ()
    previous_log: tuple[str, ...] = ()

    @property
    def blocked(self) -> bool:
        """It waits for something that does not come by waiting."""
        return self.state == "waiting" and bool(self.reason) and self.reason not in _PATIENT

    @property
    def ran(self) -> bool:
        return self.state == "running" or self.exit_code is not None

    def sources(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """(source, lines), the run that ended first: its last words say why it ended."""
        where = f"log of pod/{self.pod}, container {self.name}"
        if self.previous_log:
            yield f"{where}, previous run", self.previous_log
        if self.log:
            yield where, self.log
        if self.exit_message:
            yield f"termination message of pod/{self.pod}, container {self.name}", tuple(self.exit_message.splitlines())

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(line for _source, lines in self.sources() for line in lines)


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod of a workload. `age` in seconds."""

    name: str
    workload: str
    role: str
    node: str
    phase: str
    reason: str
    message: str
    ready: bool
    leaving: bool
    age: float
    # Since when it is not ready, as far as that is known; else as long as it is there
    unready_for: float
    containers: tuple[Container, ...]
    conditions: tuple[Json, ...] = ()
    spec: Json = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"pod/{self.name}"

    @property
    def main(self) -> Container:
        return next(one for one in self.containers if not one.init)

    @property
    def up_for(self) -> float:
        """Seconds since its main process began, at most: it began after the run before it had ended."""
        return self.age if self.main.ended is None else self.main.ended

    @property
    def settled(self) -> bool:
        """Its main process has been up for long enough to be asked for an answer."""
        return self.main.state == "running" and self.up_for > SETTLED

    @property
    def ran(self) -> bool:
        return any(container.ran for container in self.containers)

    @property
    def unschedulable(self) -> str | None:
        """What the scheduler said."""
        return next(
            (
                str(one.get("message") or "")
                for one in self.conditions
                if one.get("type") == "PodScheduled" and one.get("reason") == "Unschedulable"
            ),
            None,
        )

    @property
    def troubled(self) -> bool:
        """It does not work, or will not for long. A pod that has only just been made is given its time."""
        restarts = sum(container.restarts for container in self.containers)
        last = min((one.ended for one in self.containers if one.ended is not None and not one.init), default=RECENTLY)
        if self.ready:
            return restarts >= RESTLESS and last < RECENTLY
        blocked = any(container.blocked for container in self.containers)
        failed = self.phase == "Failed" or any(
            one.exit_code is not None
            and one.ended is not None
            and one.ended < RECENTLY
            and not (one.init and one.ready)
            for one in self.containers
        )
        return blocked or failed or self.unschedulable is not None or self.unready_for > STARTING

    @property
    def state(self) -> str:
        """In a few words, how it is."""
        if self.unschedulable is not None:
            return "unschedulable"
        for one in self.containers:
            if one.blocked:
                return f"{one.name}: {one.reason}" + (f", ended {one.restarts} times" if one.restarts else "")
        for one in self.containers:
            if one.init and one.state in ("running", "waiting") and not self.main.ran:
                return f"waits in {one.name}"
        if self.phase == "Failed":
            return f"Failed: {self.reason}"
        return "ready" if self.ready else "not ready"


@dataclass(frozen=True, eq=False)
class Workload:
    """A Deployment or StatefulSet. `role`: worker, beat or other."""

    kind: str
    name: str
    role: str
    wanted: int
    ready: int
    pods: tuple[Pod, ...]
    # (source, message) of what kept pods from being made
    refusals: tuple[tuple[str, str], ...]
    spec: Json
    obj: Json

    @property
    def subject(self) -> str:
        return f"{self.kind.lower()}/{self.name}"

    @property
    def container(self) -> Json:
        """The first of the template."""
        found: Json = self.spec["containers"][0]
        return found

    @property
    def containers(self) -> tuple[Json, ...]:
        return (*(self.spec.get("initContainers") or ()), *self.spec["containers"])

    @property
    def words(self) -> tuple[str, ...]:
        return command_of(self.container)

    def option(self, *names: str) -> str | None:
        """The value of an option of the command line; None without it."""
        words = self.words
        for place, word in enumerate(words):
            for name in names:
                if word == name and place + 1 < len(words):
                    return words[place + 1]
                if name.startswith("--") and word.startswith(f"{name}="):
                    return word.partition("=")[2]
                if not name.startswith("--") and word.startswith(name) and len(word) > len(name) and word[1] != "-":
                    return word[len(name) :]
        return None


def command_of(container: Json) -> tuple[str, ...]:
    """The words that the container runs, those of a shell's script one by one."""
    given = [*(container.get("command") or ()), *(container.get("args") or ())]
    return tuple(word for text in given for word in str(text).split())


def role_of(obj: Json) -> str:
    """worker, beat or other, by what the first container runs; else by the label `component`."""
    words = command_of(obj["spec"]["template"]["spec"]["containers"][0])
    if any(re.search(r"(^|/)celery$", word) or word == "celery" for word in words):
        for role in ("worker", "beat"):
            if role in words:
                return role
    labels = obj["spec"]["template"].get("metadata", {}).get("labels") or {}
    component = str(labels.get("component") or labels.get("app.kubernetes.io/component") or "")
    return component.removeprefix("celery-") if component in ("celery-worker", "celery-beat") else "other"


def workloads_of(seen: Source) -> tuple[Workload, ...]:
    found = [_workload(seen, obj) for kind in ("Deployment", "StatefulSet") for obj in seen.kind(kind)]
    order = {"worker": 0, "beat": 1, "other": 2}
    return tuple(sorted(found, key=lambda one: (order[one.role], one.name)))


def _workload(seen: Source, obj: Json) -> Workload:
    name, status = obj["metadata"]["name"], obj.get("status") or {}
    role = "worker" if name in seen.workers else "beat" if name in seen.beats else "other"
    makers = {obj["metadata"].get("uid")} | {
        one["metadata"].get("uid") for one in seen.kind("ReplicaSet") if _owned(one, {obj["metadata"].get("uid")})
    }
    pods = [_pod(seen, one, name, role) for one in seen.kind("Pod") if _owned(one, makers)]
    wanted = obj["spec"].get("replicas", 1)
    return Workload(
        kind=obj["kind"],
        name=name,
        role=role,
        wanted=int(1 if wanted is None else wanted),
        ready=int(status.get("readyReplicas") or 0),
        pods=tuple(sorted(pods, key=lambda pod: pod.name)),
        refusals=tuple(_refusals(seen, obj)),
        spec=obj["spec"]["template"]["spec"],
        obj=obj,
    )


def _owned(obj: Json, owners: set[Any]) -> bool:
    return any(one.get("uid") in owners for one in obj["metadata"].get("ownerReferences") or ())


def _refusals(seen: Source, obj: Json) -> Iterator[tuple[str, str]]:
    """Of conditions, which stay, and of events, which a StatefulSet has only. Old ReplicaSets are history."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    said = set()
    sets = [one for one in seen.kind("ReplicaSet") if _owned(one, {obj["metadata"].get("uid")})]
    current = [one for one in sets if int((one.get("spec") or {}).get("replicas") or 0) > 0]
    for one in (obj, *current):
        for condition in (one.get("status") or {}).get("conditions") or ():
            message = str(condition.get("message") or "")
            if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True" and message not in said:
                said.add(message)
                yield f"condition ReplicaFailure of {one['kind'].lower()}/{one['metadata']['name']}", message
    if int((obj.get("status") or {}).get("replicas") or 0) >= int(obj["spec"].get("replicas") or 0):
        return
    for place, title in ((kind, name), *(("ReplicaSet", one["metadata"]["name"]) for one in current)):
        for event in seen.events_of(place, title, "FailedCreate"):
            if event.message not in said:
                said.add(event.message)
                yield event.source, event.message


def _pod(seen: Source, obj: Json, workload: str, role: str) -> Pod:
    meta, status, spec = obj["metadata"], obj.get("status") or {}, obj.get("spec") or {}
    conditions = tuple(status.get("conditions") or ())
    since = next((one.get("lastTransitionTime") for one in conditions if one.get("type") == "Ready"), None)
    return Pod(
        name=meta["name"],
        workload=workload,
        role=role,
        node=str(spec.get("nodeName") or ""),
        phase=str(status.get("phase") or ""),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        ready=any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions),
        leaving=bool(meta.get("deletionTimestamp")),
        age=seen.age(meta.get("creationTimestamp")),
        unready_for=seen.age(since or meta.get("creationTimestamp")),
        containers=tuple(_containers(seen, obj)),
        conditions=conditions,
        spec=spec,
    )


def _containers(seen: Source, pod: Json) -> Iterator[Container]:
    status, name = pod.get("status") or {}, pod["metadata"]["name"]
    for init, key, answers in (
        (True, "initContainers", "initContainerStatuses"),
        (False, "containers", "containerStatuses"),
    ):
        states = {one["name"]: one for one in status.get(answers) or ()}
        for spec in pod["spec"].get(key) or ():
            yield _container(seen, name, init, spec, states.get(spec["name"]) or {})


def _container(seen: Source, pod: str, init: bool, spec: Json, status: Json) -> Container:
    state = status.get("state") or {}
    word = next(iter(state), "")
    now = state.get(word) or {}
    last = now if word == "terminated" else (status.get("lastState") or {}).get("terminated") or {}
    logs = {
        bool(one.get("previous")): tuple(one["lines"])
        for one in seen.logs
        if one["pod"] == pod and one["container"] == spec["name"]
    }
    return Container(
        pod=pod,
        name=spec["name"],
        init=init,
        state=word,
        reason=str(now.get("reason") or ""),
        message=str(now.get("message") or ""),
        exit_code=None if not last else int(last.get("exitCode", 0)),
        exit_reason=str(last.get("reason") or ""),
        exit_message=str(last.get("message") or ""),
        ended=seen.age(last["finishedAt"]) if last.get("finishedAt") else None,
        ran_for=seconds_between(last.get("startedAt"), last.get("finishedAt")) if last.get("startedAt") else None,
        restarts=int(status.get("restartCount") or 0),
        ready=bool(status.get("ready")),
        spec=spec,
        log=logs.get(False, ()),
        previous_log=logs.get(True, ()),
    )
