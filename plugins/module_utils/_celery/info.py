# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Workers, pools, tasks and queues as they are: what the API says, and what one worker's container says for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import (
    Call,
    Execute,
    Lists,
    is_ready,
    pods_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["Question", "Seen", "info", "look", "report"]

Json = dict[str, Any]
COMPONENT = "celery-worker"
STATES = ("active", "reserved", "scheduled")


@dataclass(frozen=True)
class Question:
    """Whom to ask for what. ``workers``: names of Deployments, or all with the label component=celery-worker."""

    namespace: str
    app: str
    workers: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    python: str = "python"
    # Seconds for each answer of a worker or of the broker
    within: float = 3.0


@dataclass(frozen=True)
class Seen:
    """Pods of each Deployment, and what census.py answered in one of them."""

    deployments: tuple[Json, ...]
    pods: Mapping[str, tuple[Json, ...]]
    census: Json


def info(params: Mapping[str, Any], result: Json) -> None:
    """Fills in `result`: workers, pools, tasks, queues, broker. Raises CeleryOpsError when nobody can be asked."""
    api = connect(params)

    def execute(call: Call) -> tuple[int, str, str]:
        done = exec_in_pod(
            api,
            call.namespace,
            call.pod,
            call.command,
            container=call.container,
            stdin=call.stdin,
            timeout=call.timeout,
        )
        return done.rc, done.stdout, done.stderr

    question = Question(
        namespace=params["namespace"],
        app=params["app"],
        workers=tuple(params["workers"]),
        queues=tuple(params["queues"]),
        python=params["python"],
        within=params["timeout"],
    )
    result.update(report(look(api, execute, question)))


def look(api: Lists, execute: Execute, question: Question) -> Seen:
    """Asks the newest ready worker. Raises CeleryOpsError where there is none, or when it cannot answer."""
    found = api.list("apps/v1", "Deployment", question.namespace)
    deployments = tuple(obj for obj in found if _wanted(obj, question.workers))
    missing = set(question.workers) - {obj["metadata"]["name"] for obj in deployments}
    if missing or not deployments:
        raise CeleryOpsError(
            "There are no such workers",
            expected=f"Deployments {', '.join(question.workers) or f'with the label component={COMPONENT}'} "
            f"in namespace {question.namespace}",
            found=f"no {', '.join(sorted(missing))}" if missing else "none",
            remedy="Correct namespace and workers, or apply role celery_worker.",
        )
    every = tuple(api.list("v1", "Pod", question.namespace))
    pods = {obj["metadata"]["name"]: pods_of(obj, every) for obj in deployments}
    ready = [pod for each in pods.values() for pod in each if is_ready(pod)]
    if not ready:
        raise CeleryOpsError(
            "No worker can be asked",
            expected="a worker pod that is ready",
            found=f"none of {sum(map(len, pods.values()))} is",
            remedy=f"See why: kubectl -n {question.namespace} describe pods -l component={COMPONENT}",
        )
    # An old one may be about to leave.
    newest = max(ready, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))
    return Seen(deployments, pods, _ask(execute, newest, question))


def _wanted(deployment: Json, names: tuple[str, ...]) -> bool:
    if names:
        return deployment["metadata"]["name"] in names
    return bool((deployment["metadata"].get("labels") or {}).get("component") == COMPONENT)


def _ask(execute: Execute, pod: Json, question: Question) -> Json:
    request = {"app": question.app, "queues": list(question.queues), "within": question.within}
    command, packed = shipment.visit(question.python, "census", request, ())
    name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
    # Eight answers, and the import of the application.
    limit = 8 * question.within + 60
    status, output, errors = execute(Call(question.namespace, name, container, command, packed, limit))
    return shipment.interpret(shipment.Outcome(status, f"{errors}\n{output}"))


def report(seen: Seen) -> Json:
    """The module's result: workers, pools, tasks, queues, broker."""
    workers = list(_workers(seen))
    return {
        "workers": workers,
        "pools": [_pool(deployment, seen, workers) for deployment in seen.deployments],
        "tasks": seen.census["tasks"],
        "queues": _queues(seen.census),
        "broker": _broker(seen.census),
    }


def _workers(seen: Seen) -> Iterable[Json]:
    """Every worker that answers, and every pod whose worker does not."""
    homes = {
        pod["metadata"]["name"]: (deployment, pod)
        for deployment, pods in seen.pods.items()
        for pod in pods
        if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
    }
    told = seen.census["workers"]
    # celery@<host name>, and a pod's host name is the pod's name.
    by_pod = {name.partition("@")[2]: name for name in told}
    nothing = dict.fromkeys(
        ("kind", "concurrency", "processes", "prefetch", "uptime", "clock_skew", *STATES),
    )
    for pod, (deployment, obj) in sorted(homes.items()):
        name = by_pod.get(pod)
        facts = told[name] if name else {**nothing, "queues": []}
        yield {
            "name": name,
            "pod": pod,
            "deployment": deployment,
            "node": obj["spec"].get("nodeName"),
            "ready": is_ready(obj),
            "answers": name is not None,
            **facts,
        }
    for pod, name in sorted(by_pod.items()):
        if pod not in homes:
            # A worker of the same broker that no Deployment here brought up
            yield {
                "name": name,
                "pod": None,
                "deployment": None,
                "node": None,
                "ready": None,
                "answers": True,
                **told[name],
            }


def _pool(deployment: Json, seen: Seen, workers: list[Json]) -> Json:
    name = deployment["metadata"]["name"]
    mine = [worker for worker in workers if worker["deployment"] == name and worker["answers"]]
    kinds = sorted({worker["kind"] for worker in mine if worker["kind"]})
    return {
        "deployment": name,
        "pool": (deployment["metadata"].get("labels") or {}).get("pool"),
        # More than one only while an update runs
        "kinds": kinds,
        "replicas": deployment["spec"].get("replicas", 1),
        "ready": sum(is_ready(pod) for pod in seen.pods[name]),
        "answering": len(mine),
        "concurrency": sum(worker["concurrency"] or 0 for worker in mine),
        "processes": sum(worker["processes"] or 0 for worker in mine),
        "queues": sorted({queue for worker in mine for queue in worker["queues"]}),
    }


def _queues(census: Json) -> list[Json]:
    consumers = Counter(queue for worker in census["workers"].values() for queue in worker["queues"])
    states: Counter[tuple[str, str]] = Counter()
    for row in census["tasks"]:
        states[row["queue"], row["state"]] += row["count"]
        if row["state"] == "active" and row["acknowledged"]:
            states[row["queue"], "acknowledged"] += row["count"]
    read = census["backlog"]["queues"] if census["backlog"] else {}
    return [
        {
            "queue": queue,
            "consumers": consumers[queue],
            "ready": read[queue]["ready"] if queue in read else None,
            "unacked": read[queue]["unacked"] if queue in read else None,
            # What was acknowledged before it ran is in no list of the broker.
            "running_acknowledged": states[queue, "acknowledged"],
            "backlog": read[queue]["backlog"] + states[queue, "acknowledged"] if queue in read else None,
            **{state: states[queue, state] for state in STATES},
        }
        for queue in sorted({*read, *consumers})
    ]


def _broker(census: Json) -> Json:
    backlog = census["backlog"] or {}
    return {
        "driver": census["driver"],
        "unacked": backlog.get("unacked"),
        "unacked_elsewhere": backlog.get("elsewhere"),
        "clock_skew": census["broker_skew"],
        "problem": census["problem"],
    }
