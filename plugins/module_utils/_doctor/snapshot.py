# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that a diagnosis looks at, as it was at one moment, without any secret; and its form as a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import (
    Container,
    Event,
    Pod,
    Workload,
    seconds_between,
    workloads_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Snapshot", "read", "write"]

Json = dict[str, Any]
FORMAT = "celeryops-doctor/1"


@dataclass(frozen=True)
class Snapshot:
    """Kubernetes objects by kind in their own form, cut down; answers from inside; why something is not here.

    `secrets` are shapes: for each key its length and form, never its value. `visits` are answers of inside.py, one for
    each container that was entered. `asked` are the broker URLs that were asked from a Redis pod. `gone` are pods that
    were there when all was listed, and had been told to go when workers had answered.
    """

    namespace: str
    taken: str
    workers: tuple[str, ...] = ()
    beats: tuple[str, ...] = ()
    # Deployment: how many pods there ought to be, where that is not what the Deployment says
    replicas: Mapping[str, int] = field(default_factory=dict)
    # Queues that have to be consumed
    queues: tuple[str, ...] = ()
    objects: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    logs: tuple[Json, ...] = ()
    visits: tuple[Json, ...] = ()
    asked: tuple[Json, ...] = ()
    gone: tuple[str, ...] = ()
    # What could not be collected: (part, reason)
    gaps: tuple[tuple[str, str], ...] = ()

    def kind(self, kind: str) -> tuple[Json, ...]:
        return tuple(self.objects.get(kind, ()))

    def gap(self, part: str) -> str | None:
        """Why a part was not collected; None when it was."""
        return next((why for name, why in self.gaps if name == part), None)

    def seen(self, kind: str) -> bool:
        return kind in self.objects

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        """Workers, beats, then what else runs in the namespace."""
        return workloads_of(self)

    @cached_property
    def celery(self) -> tuple[Workload, ...]:
        return tuple(one for one in self.workloads if one.role in ("worker", "beat"))

    def of(self, role: str) -> tuple[Workload, ...]:
        return tuple(one for one in self.workloads if one.role == role)

    def pods(self, *roles: str) -> tuple[Pod, ...]:
        """Pods that stay, of workloads with these roles; without roles of all."""
        return tuple(
            pod for one in self.workloads if not roles or one.role in roles for pod in one.pods if not pod.leaving
        )

    def troubled(self, *roles: str) -> tuple[Pod, ...]:
        return tuple(pod for pod in self.pods(*roles) if pod.troubled)

    def started(self, *roles: str) -> tuple[Pod, ...]:
        """Pods that are not ready, or not for long, in which a process ran, be it an init container's."""
        return tuple(pod for pod in self.pods(*roles) if pod.ran and (pod.troubled or not pod.ready))

    def containers(self, pods: Iterable[Pod]) -> Iterator[Container]:
        for pod in pods:
            yield from pod.containers

    @cached_property
    def events(self) -> tuple[Event, ...]:
        """The latest first."""
        found = [Event.of(one, self.taken) for one in self.kind("Event")]
        return tuple(sorted(found, key=lambda event: event.age))

    def events_of(self, kind: str, name: str, *reasons: str) -> tuple[Event, ...]:
        return tuple(
            event
            for event in self.events
            if event.kind == kind and event.name == name and (not reasons or event.reason in reasons)
        )

    def age(self, moment: str | None) -> float:
        """Seconds from a moment to this snapshot."""
        return seconds_between(moment, self.taken)

    def visited(self, section: str) -> Iterator[tuple[Json, Any]]:
        """(visit, section) of each visit that has an answer there."""
        for visit in self.visits:
            if visit.get(section) is not None:
                yield visit, visit[section]


def write(snapshot: Snapshot) -> str:
    """The snapshot as JSON, one fact a line so that two of them can be compared."""
    return json.dumps({"format": FORMAT, **asdict(snapshot)}, indent=1, sort_keys=True) + "\n"


def read(text: str, source: str) -> Snapshot:
    """Raises CeleryOpsError for what is no snapshot of this version."""
    try:
        data = dict(json.loads(text))
        form = data.pop("format")
    except (ValueError, KeyError, TypeError) as problem:
        raise _unreadable(source, f"{type(problem).__name__}: {problem}") from problem
    if form != FORMAT:
        raise _unreadable(source, f"format {form!r}")
    for name in ("workers", "beats", "queues", "logs", "visits", "asked", "gone"):
        data[name] = tuple(data.get(name) or ())
    data["objects"] = {kind: tuple(found) for kind, found in (data.get("objects") or {}).items()}
    data["gaps"] = tuple((part, why) for part, why in data.get("gaps") or ())
    try:
        return Snapshot(**data)
    except TypeError as problem:
        raise _unreadable(source, str(problem)) from problem


def _unreadable(source: str, found: str) -> CeleryOpsError:
    return CeleryOpsError(
        f"{source} is no snapshot that can be replayed",
        expected=f"a file that celery_doctor saved, of format {FORMAT!r}",
        found=found,
        remedy="save it again with the version of the collection that replays it",
    )
