# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collects a snapshot through the API server: objects, logs, and what containers that run say when they are asked.

Everything is bounded and what does not depend on each other is done side by side, so that the whole takes seconds. What
cannot be collected becomes a gap with its reason.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor import visits
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.prune import pruned, referenced
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.shapes import Redactor, secret_shapes
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import RECENTLY, Container, Pod, role_of
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.wish import Wish
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

__all__ = ["collect"]

Json = dict[str, Any]

# Kind: its API version, and whether it lives in the namespace
KINDS = {
    "Deployment": ("apps/v1", True),
    "StatefulSet": ("apps/v1", True),
    "ReplicaSet": ("apps/v1", True),
    "Pod": ("v1", True),
    "Event": ("v1", True),
    "ConfigMap": ("v1", True),
    "Service": ("v1", True),
    "LimitRange": ("v1", True),
    "ResourceQuota": ("v1", True),
    "PodDisruptionBudget": ("policy/v1", True),
    "HorizontalPodAutoscaler": ("autoscaling/v2", True),
    "Node": ("v1", False),
}
AT_ONCE = 8
LOG_LINES = 200
# Of a container that goes on, what it said within so many seconds
LOG_SECONDS = 900
MOST_LOGS = 40
# Old ones say nothing of now, and a namespace may hold thousands.
MOST_EVENTS = 400


class Gaps:
    """What could not be collected, and why."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}

    def note(self, part: str, problem: CeleryOpsError | str) -> None:
        said = problem if isinstance(problem, str) else problem.found or problem.message
        self.found.setdefault(part, " ".join(said.split()))


def collect(api: Api, wish: Wish) -> Snapshot:
    """Raises KubeError only when the API server itself cannot be asked."""
    gaps = Gaps()
    # Discovery, once, before it is asked for side by side: and the one answer without which there is nothing.
    api.resource("v1", "Pod")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listed = dict(zip(KINDS, pool.map(lambda kind: _list(api, wish, kind, gaps), KINDS), strict=True))
        secrets = _list(api, wish, "Secret", gaps) or []
        raw = {kind: objects for kind, objects in listed.items() if objects is not None}
        seen = _snapshot(wish, now, raw, secrets)
        redactor = Redactor(secrets)

        def read(one: tuple[Container, bool]) -> Json | None:
            return _log(api, wish.namespace, one, redactor, gaps)

        logs = pool.map(read, _wanted_logs(seen)[:MOST_LOGS])
        # A broker that gives no answer takes as long as the applications that are entered meanwhile.
        early = pool.submit(visits.ask, api, wish, seen, (), raw, secrets, gaps.note, visits.shut(seen))
        told = visits.visit(api, wish, seen, pool, gaps.note)
        seen = replace(seen, logs=tuple(one for one in logs if one), gone=_gone(api, wish, raw, gaps) if told else ())
        asked = early.result()
        asked += visits.ask(api, wish, seen, [*told, *asked], raw, secrets, gaps.note)
    return replace(
        seen,
        visits=tuple(redactor.value(told)),
        asked=tuple(redactor.value(asked)),
        gaps=tuple(sorted((part, redactor.text(why)) for part, why in gaps.found.items())),
    )


def _list(api: Api, wish: Wish, kind: str, gaps: Gaps) -> list[Json] | None:
    version, namespaced = KINDS.get(kind, ("v1", True))
    try:
        found = api.list(version, kind, wish.namespace if namespaced else None)
    except CeleryOpsError as problem:
        gaps.note(kind, problem)
        return None
    if kind == "Event":
        found.sort(key=lambda event: str(event.get("lastTimestamp") or event["metadata"].get("creationTimestamp")))
        return found[-MOST_EVENTS:]
    return found


def _gone(api: Api, wish: Wish, raw: Mapping[str, list[Json]], gaps: Gaps) -> tuple[str, ...]:
    """Who was told to go since the pods were listed, as in a rolling update, gives no answer and is well."""
    now = _list(api, wish, "Pod", gaps)
    if now is None:
        return ()
    before, after = _staying(raw.get("Pod", [])), _staying(now)
    return tuple(sorted(name for uid, name in before.items() if uid not in after))


def _staying(pods: Iterable[Json]) -> dict[str, str]:
    metadata = [pod["metadata"] for pod in pods]
    return {one["uid"]: one["name"] for one in metadata if not one.get("deletionTimestamp")}


def _snapshot(wish: Wish, now: str, raw: Mapping[str, list[Json]], secrets: list[Json]) -> Snapshot:
    deployments = raw.get("Deployment", [])
    redactor = Redactor(secrets)
    workloads = [*deployments, *raw.get("StatefulSet", [])]
    shown = referenced(one for one in workloads if role_of(one) != "other" or one["metadata"]["name"] in wish.workers)
    return Snapshot(
        namespace=wish.namespace,
        taken=now,
        workers=wish.workers or _named(deployments, "worker"),
        beats=wish.beats or _named(deployments, "beat"),
        replicas=dict(wish.replicas or {}),
        queues=wish.queues,
        objects={kind: tuple(pruned(kind, one, redactor, shown) for one in objects) for kind, objects in raw.items()},
        secrets=secret_shapes(secrets),
    )


def _named(deployments: Iterable[Json], role: str) -> tuple[str, ...]:
    return tuple(sorted(one["metadata"]["name"] for one in deployments if role_of(one) == role))


def _wanted_logs(seen: Snapshot) -> list[tuple[Container, bool]]:
    """(container, previous run), those of pods in trouble first, workers and beats before others."""
    found: list[tuple[tuple[bool, bool, bool], Container, bool]] = []
    for pod in seen.pods():
        ours = pod.role != "other"
        for one in pod.containers:
            for previous in (True, False):
                if _tells(pod, one, previous, ours):
                    found.append(((not pod.troubled, not ours, not previous), one, previous))
    found.sort(key=lambda row: row[0])
    return [(container, previous) for _order, container, previous in found]


def _tells(pod: Pod, one: Container, previous: bool, ours: bool) -> bool:
    ended_lately = one.ended is not None and one.ended < RECENTLY
    if previous:
        return one.restarts > 0 and (pod.troubled or not pod.ready or ended_lately)
    # What an init container of a pod that works has said is of no interest any more.
    return one.ran and (pod.troubled or not pod.ready or (ours and not one.init))


def _log(api: Api, namespace: str, wanted: tuple[Container, bool], redactor: Redactor, gaps: Gaps) -> Json | None:
    container, previous = wanted
    goes_on = container.state == "running" and not previous
    try:
        text = api.pod_log(
            namespace,
            container.pod,
            container.name,
            tail_lines=LOG_LINES,
            previous=previous,
            since_seconds=LOG_SECONDS if goes_on else None,
        )
    except CeleryOpsError as problem:
        gaps.note(f"log of pod/{container.pod}, container {container.name}", problem)
        return None
    lines = [redactor.text(line.rstrip()) for line in text.splitlines()]
    return {"pod": container.pod, "container": container.name, "previous": previous, "lines": lines}
