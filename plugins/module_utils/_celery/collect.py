# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe a platform: objects from the API, and one visit to a worker's container."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import Expectation, Observation
from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import acting, lease_of
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Call", "Execute", "Lists", "Visit", "is_ready", "observe", "pod_rows", "pods_of"]

Json = dict[str, Any]


class Lists(Protocol):
    """The part of the API client that is used here."""

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[Json]: ...


@dataclass(frozen=True)
class Call:
    """A command for a container; ``timeout`` in seconds."""

    namespace: str
    pod: str
    container: str
    command: list[str]
    stdin: str
    timeout: float


# Runs it: (exit status, stdout, stderr)
Execute = Callable[[Call], tuple[int, str, str]]


@dataclass(frozen=True)
class Visit:
    """What is done inside a worker's container. Durations in seconds."""

    app: str
    task: str
    python: str = "python"
    send: bool = True
    check_mode: bool = False
    beat: bool = True
    connections: int = 10
    within: float = 3.0
    task_timeout: float = 20.0
    beat_timeout: float = 150.0
    # For a beat to be elected; what it takes after one was killed, and more
    election_timeout: float = 30.0


def is_ready(pod: Json) -> bool:
    """Ready, and not about to leave."""
    conditions = pod.get("status", {}).get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def pod_rows(seen: Observation) -> list[Json]:
    """Where things run: one row per pod of the namespace, finished ones left out."""
    rows = []
    for pod in seen.pods:
        labels = pod["metadata"].get("labels", {})
        statuses = pod.get("status", {}).get("containerStatuses", [])
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        rows.append(
            {
                "component": labels.get("component") or labels.get("app.kubernetes.io/name"),
                "name": pod["metadata"]["name"],
                "node": pod["spec"].get("nodeName"),
                "ready": is_ready(pod),
                "restarts": sum(status["restartCount"] for status in statuses),
            }
        )
    return sorted(rows, key=lambda row: (str(row["component"]), row["name"]))


def pods_of(deployment: Json | None, pods: tuple[Json, ...]) -> tuple[Json, ...]:
    """Those that the Deployment's selector finds."""
    if deployment is None:
        return ()
    wanted = deployment["spec"]["selector"].get("matchLabels", {}).items()
    return tuple(pod for pod in pods if wanted <= pod["metadata"].get("labels", {}).items())


def _lease(api: Lists, expected: Expectation, beat: Json | None, pods: tuple[Json, ...], within: float) -> Json | None:
    """The Lease by which beat's pods elect the one that acts, as soon as it names one of them."""
    name = lease_of(beat)
    if name is None:
        return None
    end = time.monotonic() + within
    while True:
        found = api.list("coordination.k8s.io/v1", "Lease", expected.namespace, field_selector=f"metadata.name={name}")
        lease = found[0] if found else None
        if acting(lease, pods) is not None or time.monotonic() >= end:
            return lease
        # An election takes seconds: to ask again costs less than a watch for one object.
        time.sleep(1)


def observe(api: Lists, execute: Execute, expected: Expectation, visit: Visit) -> Observation:
    """Everything the checks need, with a single import of the application in a single container."""
    deployments = {obj["metadata"]["name"]: obj for obj in api.list("apps/v1", "Deployment", expected.namespace)}
    workers = tuple(deployments[name] for name in expected.workers if name in deployments)
    beat = deployments.get(expected.beat)
    pods = tuple(sorted(api.list("v1", "Pod", expected.namespace), key=lambda pod: str(pod["metadata"]["name"])))
    worker_pods = {obj["metadata"]["name"]: pods_of(obj, pods) for obj in workers}
    answers, problem = None, ""
    # A fresh pod is asked: an old one may be about to leave.
    every = [pod for each in worker_pods.values() for pod in each]
    ready = sorted((p for p in every if is_ready(p)), key=lambda p: str(p["metadata"]["creationTimestamp"]))
    if ready:
        count = sum(int(obj["spec"].get("replicas", 1)) for obj in workers)
        try:
            answers = _ask(execute, ready[-1], expected, visit, count)
        except CeleryOpsError as exc:
            problem = f"pod {ready[-1]['metadata']['name']}: {exc}"
    elif workers:
        problem = f"none of {len(every)} worker pods is ready"
    return Observation(
        workers=workers,
        beat=beat,
        worker_pods=worker_pods,
        beat_pods=pods_of(beat, pods),
        beat_lease=_lease(api, expected, beat, pods_of(beat, pods), visit.election_timeout if visit.send else 0.0),
        pods=pods,
        budgets=tuple(api.list("policy/v1", "PodDisruptionBudget", expected.namespace)),
        secrets=_secrets(api, expected.namespace),
        answers=answers,
        problem=problem or "there are no workers",
        sent=visit.send,
        check_mode=visit.check_mode,
    )


def _secrets(api: Lists, namespace: str) -> dict[str, dict[str, int]] | None:
    """Of every key its length; None where this account may not look."""
    try:
        found = api.list("v1", "Secret", namespace)
    except CeleryOpsError:
        return None
    return {
        one["metadata"]["name"]: {key: len(base64.b64decode(value)) for key, value in (one.get("data") or {}).items()}
        for one in found
    }


def _ask(execute: Execute, pod: Json, expected: Expectation, visit: Visit, workers: int) -> Json:
    options = {
        **asdict(visit),
        "queues": list(expected.queues),
        "workers": workers,
        "lag": expected.lag,
        "settings": sorted({key for settings in expected.settings.values() for key in settings}),
    }
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    limit = visit.task_timeout + visit.beat_timeout + 60
    command, packed = shipment.visit(visit.python, "validate", options, ())
    container = pod["spec"]["containers"][0]["name"]
    status, output, errors = execute(Call(namespace, name, container, command, packed, limit))
    return shipment.interpret(shipment.Outcome(status, f"{errors}\n{output}"))
