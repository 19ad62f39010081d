# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of Deployments and pods: how many run, of which image, with which probes, resources, Secrets and budgets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import (
    Check,
    Expectation,
    Observation,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import lease_of, take_turns
from ansible_collections.celeryops.platform.plugins.module_utils._celery.quantity import parse_quantity

__all__ = [
    "absent",
    "drain_allowed",
    "images_equal",
    "probes_defined",
    "resources_declared",
    "running",
    "secrets_present",
    "strategies",
    "workers_running",
]

Json = dict[str, Any]


def running(objects: Iterable[Json], pods: Iterable[Json], name: str) -> Check:
    """All pods of the Deployments are there, ready, and of the newest kind."""
    desired = ready = 0
    passed, titles, namespace = True, [], ""
    for obj in objects:
        wanted, status = int(obj["spec"].get("replicas", 1)), obj.get("status", {})
        counts = [int(status.get(key, 0)) for key in ("readyReplicas", "updatedReplicas", "replicas")]
        # More pods than wanted: a rollout that is still under way.
        passed = passed and wanted > 0 and counts == [wanted] * 3
        desired, ready = desired + wanted, ready + counts[0]
        titles.append(f"deployment/{obj['metadata']['name']}")
        namespace = obj["metadata"]["namespace"]
    places = ", ".join(f"{p['metadata']['name']} on {p['spec'].get('nodeName', 'no node')}" for p in pods)
    return Check(
        name,
        passed,
        f"{ready} of {desired} ready" + (f": {places}" if places else ""),
        f"kubectl -n {namespace} describe {' '.join(titles)} and the events of its pods",
    )


def absent(name: str, missing: Iterable[str]) -> Check:
    want = ", ".join(missing)
    return Check(name, False, f"no Deployment for {want}", "run site.yml, or name the Deployment in the arguments")


def workers_running(expected: Expectation, seen: Observation) -> Check:
    there = {obj["metadata"]["name"] for obj in seen.workers}
    missing = [name for name in expected.workers if name not in there]
    if missing:
        return absent("workers running", missing)
    return running(seen.workers, [pod for pods in seen.worker_pods.values() for pod in pods], "workers running")


def _containers(obj: Json) -> list[Json]:
    spec = obj["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def probes_defined(expected: Expectation, seen: Observation) -> Check:
    name = "probes"
    containers = [
        (f"{obj['metadata']['name']}/{container['name']}", container)
        for obj in (*seen.workers, seen.beat)
        if obj is not None
        for container in obj["spec"]["template"]["spec"]["containers"]
    ]
    missing = [f"{where}: no {probe}" for where, each in containers for probe in _PROBES if probe not in each]
    periods = [
        f"{where} every {'/'.join(str(each[probe].get('periodSeconds', 10)) for probe in _PROBES)} s"
        for where, each in containers
        if not missing
    ]
    return Check(
        name,
        bool(containers) and not missing,
        "; ".join(missing) or f"startup/liveness/readiness: {', '.join(periods) or 'no container'}",
        "set the *_probe variables of the role",
    )


def resources_declared(expected: Expectation, seen: Observation) -> Check:
    name = "resources"
    problems, count = [], 0
    ratios = ", ".join(f"{ratio:g} ({kind})" for kind, ratio in expected.max_ratio.items())
    for obj in (*seen.workers, seen.beat):
        for container in _containers(obj) if obj is not None else []:
            count += 1
            where = f"{obj['metadata']['name'] if obj else ''}/{container['name']}"
            resources = container.get("resources", {})
            for kind, ratio in expected.max_ratio.items():
                request = resources.get("requests", {}).get(kind)
                limit = resources.get("limits", {}).get(kind)
                if request is None or limit is None:
                    problems.append(f"{where} lacks a {kind} request or limit")
                elif parse_quantity(limit) > Decimal(str(ratio)) * parse_quantity(request):
                    problems.append(f"{where}: {kind} {request} to {limit} is above ratio {ratio:g}")
    return Check(
        name,
        count > 0 and not problems,
        "; ".join(problems) or f"{count} containers have requests and limits within ratio {ratios}",
        "raise the request or lower the limit in the role's *_resources; a namespace that allows more says so in"
        " namespace_max_limit_request_ratio",
    )


def strategies(expected: Expectation, seen: Observation) -> Check:
    name = "strategies"
    if not seen.workers or (expected.beat and seen.beat is None):
        return Check(name, False, "a Deployment is missing", "run site.yml")
    told, passed = [], True
    for obj in seen.workers:
        strategy = obj["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        passed = passed and strategy.get("type") == "RollingUpdate"
        told.append(
            f"workers {strategy.get('type')} (surge {rolling.get('maxSurge')}, "
            f"unavailable {rolling.get('maxUnavailable')})"
        )
    told = sorted(set(told))
    if seen.beat is not None:
        beat = seen.beat["spec"].get("strategy", {}).get("type")
        elected = lease_of(seen.beat) is not None
        # Those that elect one overlap, so that one acts all the time; those that do not must never overlap.
        locked = take_turns(seen.beat["spec"]["template"]["spec"]["containers"][0])
        passed = passed and (beat == "RollingUpdate" if elected else locked or beat == "Recreate")
        told.append(f"beat {beat}{', elected' if elected else ''}")
    return Check(
        name,
        passed,
        ", ".join(told),
        "workers roll one by one, beat is recreated where nobody is elected: an update must never leave two schedulers",
    )


def images_equal(expected: Expectation, seen: Observation) -> Check:
    """Pods of one Deployment run one image, whatever node they are on, and beat knows the tasks of its workers."""
    name = "images equal"
    groups = {**seen.worker_pods, **({expected.beat: seen.beat_pods} if expected.beat else {})}
    running_ids: dict[str, set[str]] = defaultdict(set)
    for pods in groups.values():
        for pod in pods:
            for status in pod.get("status", {}).get("containerStatuses") or ():
                if status.get("imageID"):
                    running_ids[status["image"]].add(status["imageID"])
    problems = [f"{image} is {len(ids)} different images" for image, ids in sorted(running_ids.items()) if len(ids) > 1]
    images = {
        obj["metadata"]["name"]: obj["spec"]["template"]["spec"]["containers"][0].get("image")
        for obj in (*seen.workers, seen.beat)
        if obj is not None
    }
    of_beat = images.pop(expected.beat, None) if expected.beat else None
    if of_beat is not None and images and of_beat not in images.values():
        problems.append(f"beat runs {of_beat}, the workers {', '.join(sorted(set(map(str, images.values()))))}")
    told = ", ".join(sorted(running_ids)) or "no pod runs"
    return Check(
        name,
        bool(running_ids) and not problems,
        "; ".join(problems) or told,
        "run site.yml: an image name must be one image on every node, the same for workers and beat",
    )


def secrets_present(expected: Expectation, seen: Observation) -> Check:
    name = "secrets present"
    if seen.secrets is None:
        return Check(name, None, "this account may not read Secrets")
    wanted = list(_secret_keys(seen))
    problems, keys = [], 0
    for secret, key in dict.fromkeys(wanted):
        held = seen.secrets.get(secret)
        if held is None:
            problems.append(f"there is no Secret {secret}")
        elif key is None:
            keys += len(held)
            problems += [f"{secret}/{each} is empty" for each, length in held.items() if not length]
        else:
            keys += 1
            if not held.get(key):
                problems.append(f"{secret}/{key} is {'empty' if key in held else 'missing'}")
    problems = list(dict.fromkeys(problems))
    return Check(
        name,
        bool(seen.workers) and not problems,
        "; ".join(problems) or f"{keys} keys of {len({secret for secret, _key in wanted})} Secrets",
        "run site.yml with --tags namespace,redis,postgresql: the roles make what is missing, and keep what is there",
    )


def _secret_keys(seen: Observation) -> Iterator[tuple[str, str | None]]:
    """(Secret, key) that the containers need; no key stands for all of them."""
    for obj in (*seen.workers, seen.beat):
        for container in _containers(obj) if obj is not None else []:
            for source in container.get("envFrom") or ():
                ref = source.get("secretRef")
                if ref and not ref.get("optional"):
                    yield ref["name"], None
            for entry in container.get("env") or ():
                ref = (entry.get("valueFrom") or {}).get("secretKeyRef")
                if ref and not ref.get("optional"):
                    yield ref["name"], ref["key"]


def drain_allowed(expected: Expectation, seen: Observation) -> Check:
    """Whether a node can be emptied: each budget of these pods lets one go."""
    name = "a drain is allowed"
    told: list[str] = []
    problems: list[str] = []
    for obj in (*seen.workers, seen.beat):
        if obj is None:
            continue
        labels = (obj["spec"]["template"].get("metadata") or {}).get("labels") or {}
        for budget in seen.budgets:
            selector = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
            if not selector or not selector.items() <= labels.items():
                continue
            allowed = int(budget.get("status", {}).get("disruptionsAllowed") or 0)
            line = f"{budget['metadata']['name']} lets {allowed} of {obj['spec'].get('replicas', 1)} pods go"
            (told if allowed else problems).append(line)
    return Check(
        name,
        bool(seen.workers) and not problems,
        "; ".join(problems) or ", ".join(told) or "no budget holds a pod",
        "make every pod ready, or set celery_worker_min_available below the number of pods",
    )
