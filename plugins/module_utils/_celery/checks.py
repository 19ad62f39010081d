# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks: pure functions from what was observed to what it proves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import (
    acting,
    lease_of,
    standing,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.inside import newest_run
from ansible_collections.celeryops.platform.plugins.module_utils._celery.quantity import parse_quantity

__all__ = ["CHECKS", "Check", "Expectation", "Observation", "evaluate", "same"]

Json = dict[str, Any]
# What `inspect conf` shows in place of a value that may be secret
HIDDEN = "*" * 8


@dataclass(frozen=True)
class Expectation:
    """What a proven platform looks like."""

    namespace: str
    # Deployments, one for each pool
    workers: tuple[str, ...]
    beat: str
    queues: tuple[str, ...]
    max_ratio: float = 2.0
    # Deployment: the Celery settings that its workers were given
    settings: Mapping[str, Json] = field(default_factory=dict)
    # Seconds by which beat may be late with writing last_run_at.
    lag: float = 180.0


@dataclass(frozen=True)
class Observation:
    """What was found. ``answers`` is None when no worker could be asked, ``problem`` says why."""

    # The Deployments of Expectation.workers that are there
    workers: tuple[Json, ...]
    beat: Json | None
    # Deployment: its pods
    worker_pods: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    beat_pods: tuple[Json, ...] = ()
    # By which they elect the one that acts, where they do
    beat_lease: Json | None = None
    pods: tuple[Json, ...] = ()
    answers: Json | None = None
    problem: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class Check:
    """One line of the report. ``passed`` is None where the check could not or must not be made."""

    name: str
    passed: bool | None
    evidence: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "evidence": self.evidence,
            "remedy": None if self.passed else self.remedy,
        }


def _running(objects: Iterable[Json], pods: Iterable[Json], name: str) -> Check:
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


def _absent(name: str, missing: Iterable[str]) -> Check:
    want = ", ".join(missing)
    return Check(name, False, f"no Deployment for {want}", "run site.yml, or name the Deployment in the arguments")


def workers_running(expected: Expectation, seen: Observation) -> Check:
    there = {obj["metadata"]["name"] for obj in seen.workers}
    missing = [name for name in expected.workers if name not in there]
    if missing:
        return _absent("workers running", missing)
    return _running(seen.workers, [pod for pods in seen.worker_pods.values() for pod in pods], "workers running")


def beat_running(expected: Expectation, seen: Observation) -> Check:
    if seen.beat is None:
        return _absent("beat running", [expected.beat])
    check = _running([seen.beat], seen.beat_pods, "beat running")
    if lease_of(seen.beat) is not None:
        one = acting(seen.beat_lease, seen.beat_pods)
        evidence = f"{check.evidence}; {standing(seen.beat_lease, seen.beat_pods)}"
        why = f"kubectl -n {expected.namespace} logs deployment/{expected.beat}: it says why the Lease is not to be had"
        return Check(check.name, bool(check.passed) and one is not None, evidence, check.remedy if one else why)
    if check.passed and int(seen.beat["spec"].get("replicas", 1)) != 1:
        why = "schedulers that elect nobody act all at once: set celery_beat_replicas, or replicas to 1"
        return Check(check.name, False, check.evidence, why)
    return check


def _unasked(name: str, seen: Observation) -> Check:
    return Check(name, False, seen.problem or "no worker could be asked", "make the workers run first")


def broker_is_master(expected: Expectation, seen: Observation) -> Check:
    name = "broker is the master"
    if seen.answers is None:
        return _unasked(name, seen)
    broker = seen.answers["broker"]
    roles = broker["roles"]
    good = [role for role in roles if role in ("master", "connected")]
    return Check(
        name,
        bool(roles) and len(good) == len(roles),
        f"{broker['url']}: {len(good)} of {len(roles)} new connections reached the master"
        + ("" if len(good) == len(roles) else f", one said {next(r for r in roles if r not in good)!r}"),
        "run site.yml with --tags celery: redis_master writes the master into the ConfigMap",
    )


def workers_answer(expected: Expectation, seen: Observation) -> Check:
    name = "workers answer"
    if seen.answers is None:
        return _unasked(name, seen)
    pongs = seen.answers["workers"]["pongs"]
    wanted = sum(int(obj["spec"].get("replicas", 1)) for obj in seen.workers)
    return Check(
        name,
        0 < wanted <= len(pongs),
        f"{len(pongs)} of {wanted} answered a ping: {', '.join(pongs) or 'nobody'}",
        f"kubectl -n {expected.namespace} logs -l component=celery-worker: "
        "a worker that is ready but silent has lost its control connection",
    )


def workers_consume(expected: Expectation, seen: Observation) -> Check:
    name = "workers consume"
    if seen.answers is None:
        return _unasked(name, seen)
    probes = seen.answers["workers"]["probes"]
    if not probes:
        return Check(name, None, "the workers do not carry the probes of role celery_pod")
    idle = sorted(worker for worker, probe in probes.items() if not probe["consuming"])
    oldest = max((probe["consuming_age"] or 0.0) for probe in probes.values())
    return Check(
        name,
        not idle,
        f"{len(probes) - len(idle)} of {len(probes)} consume, oldest evidence {oldest:.1f} s"
        + (f"; not: {', '.join(idle)}" if idle else ""),
        "the log of that worker says which connection it lost",
    )


def queues_consumed(expected: Expectation, seen: Observation) -> Check:
    name = "queues have consumers"
    if seen.answers is None:
        return _unasked(name, seen)
    consumers = {
        queue: sum(queue in queues for queues in seen.answers["workers"]["queues"].values())
        for queue in expected.queues
    }
    orphans = [queue for queue, count in consumers.items() if not count]
    return Check(
        name,
        not orphans,
        f"{len(consumers) - len(orphans)} of {len(consumers)} queues: "
        + ", ".join(f"{queue} {count}" for queue, count in consumers.items()),
        f"add to the queues of a pool in celery_worker_pools: {', '.join(orphans)}",
    )


def settings_in_effect(expected: Expectation, seen: Observation) -> Check:
    """What the command line gave each worker is what `inspect conf` reads back."""
    name = "settings in effect"
    if not expected.settings:
        return Check(name, None, "no settings to compare with were given")
    if seen.answers is None:
        return _unasked(name, seen)
    conf = seen.answers["workers"]["conf"]
    wrong, compared = [], 0
    for deployment, settings in expected.settings.items():
        for pod in seen.worker_pods.get(deployment, ()):
            worker = next((each for each in conf if each.endswith(f"@{pod['metadata']['name']}")), None)
            for key, value in settings.items() if worker else ():
                found = conf[worker].get(key)
                compared += 1
                if not same(value, found):
                    wrong.append(f"{worker}: {key} is {found!r} instead of {value!r}")
    return Check(
        name,
        compared > 0 and not wrong,
        "; ".join(wrong) or f"{compared} values read back from {len(conf)} workers",
        "look for what sets them again in the application, after its command line was read, and for pods of an "
        "earlier roll-out",
    )


def same(given: Any, found: Any) -> bool:
    """Whether a setting has the value it was given, as Celery types it. What Celery hides cannot be told."""
    if found == HIDDEN:
        return True
    if isinstance(given, Mapping):
        return isinstance(found, Mapping) and all(same(value, found.get(key)) for key, value in given.items())
    if isinstance(given, (list, tuple)):
        return isinstance(found, (list, tuple)) and len(given) == len(found) and all(map(same, given, found))
    if isinstance(given, bool) or isinstance(found, bool):
        return str(given).lower() == str(found).lower()
    try:
        return float(given) == float(found)
    except (TypeError, ValueError):
        return str(given) == str(found)


def tasks_ran(expected: Expectation, seen: Observation) -> Check:
    name = "a task through each queue"
    if seen.read_only:
        return Check(name, None, "check mode sends no task")
    if seen.answers is None or seen.answers["tasks"] is None:
        return _unasked(name, seen)
    runs = seen.answers["tasks"]
    failed = [run for run in runs if run["state"] != "SUCCESS"]
    slowest = max((run.get("seconds", 0.0) for run in runs), default=0.0)
    told = [f"{run['queue']}: {run['state']} {run.get('problem') or run.get('result', '')}".strip() for run in failed]
    return Check(
        name,
        bool(runs) and not failed,
        f"{len(runs) - len(failed)} of {len(runs)} results read within {slowest:.2f} s"
        + (f"; {'; '.join(told)}" if told else f": {', '.join(run['queue'] for run in runs)}"),
        "NO RESULT: no consumer, or another result backend; FAILURE: see the worker's log",
    )


def beat_sends(expected: Expectation, seen: Observation) -> Check:
    name = "beat's tasks run"
    if seen.answers is None or seen.answers.get("entries") is None:
        problem = seen.problem or (seen.answers or {}).get("entries_problem") or "the schedule was not read"
        return Check(name, False, str(problem), "the tables of django_celery_beat: run site.yml with --tags celery")
    now = seen.answers["time"]
    newest = newest_run(seen.answers, expected.lag)
    if newest is not None:
        entry, run = newest
        return Check(
            name,
            True,
            f"{entry['name']!r} ({run['task']}) ran {now - run['finished']:.0f} s ago, last run recorded "
            f"{now - entry['last_run']:.0f} s ago, run {entry['runs']}, due every {entry['interval']:.0f} s",
        )
    entries = seen.answers["entries"]
    ran = sorted({n for probe in seen.answers["workers"]["probes"].values() for n in probe["beat"]})
    advanced = sum(1 for entry in entries if entry["last_run"])
    return Check(
        name,
        False,
        f"{len(entries)} enabled entries, {advanced} with a last run; tasks from beat that workers ran: "
        f"{', '.join(ran) or 'none'}",
        f"kubectl -n {expected.namespace} logs deployment/{expected.beat}: last runs without tasks mean "
        "that beat cannot publish (wrong broker), neither means that it does not tick",
    )


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
    for obj in (*seen.workers, seen.beat):
        for container in _containers(obj) if obj is not None else []:
            count += 1
            where = f"{obj['metadata']['name'] if obj else ''}/{container['name']}"
            resources = container.get("resources", {})
            for kind in ("cpu", "memory"):
                request = resources.get("requests", {}).get(kind)
                limit = resources.get("limits", {}).get(kind)
                if request is None or limit is None:
                    problems.append(f"{where} lacks a {kind} request or limit")
                elif parse_quantity(limit) > Decimal(str(expected.max_ratio)) * parse_quantity(request):
                    problems.append(f"{where}: {kind} {request} to {limit} is above ratio {expected.max_ratio:g}")
    return Check(
        name,
        count > 0 and not problems,
        "; ".join(problems) or f"{count} containers have requests and limits within ratio {expected.max_ratio:g}",
        "raise the request or lower the limit in the role's *_resources",
    )


def strategies(expected: Expectation, seen: Observation) -> Check:
    name = "strategies"
    if not seen.workers or seen.beat is None:
        return Check(name, False, "a Deployment is missing", "run site.yml")
    told = set()
    for obj in seen.workers:
        strategy = obj["spec"].get("strategy", {})
        rolling = strategy.get("rollingUpdate", {})
        told.add(
            f"workers {strategy.get('type')} (surge {rolling.get('maxSurge')}, "
            f"unavailable {rolling.get('maxUnavailable')})"
        )
    beat = seen.beat["spec"].get("strategy", {})
    wanted = "RollingUpdate" if lease_of(seen.beat) else "Recreate"
    return Check(
        name,
        all(each.startswith("workers RollingUpdate") for each in told) and beat.get("type") == wanted,
        f"{', '.join(sorted(told))}, beat {beat.get('type')}" + (", elected" if lease_of(seen.beat) else ""),
        "workers roll one by one, beat is recreated where nobody is elected: an update must never leave two schedulers",
    )


CHECKS: tuple[Callable[[Expectation, Observation], Check], ...] = (
    workers_running,
    beat_running,
    broker_is_master,
    workers_answer,
    workers_consume,
    queues_consumed,
    settings_in_effect,
    tasks_ran,
    beat_sends,
    probes_defined,
    resources_declared,
    strategies,
)


def evaluate(expected: Expectation, seen: Observation) -> list[Check]:
    """Every check, in the order of the report. Where check mode finds nothing yet, nothing has failed."""
    checks = [check(expected, seen) for check in CHECKS]
    if seen.read_only and not seen.workers and seen.beat is None:
        return [Check(check.name, None, "check mode: nothing is deployed yet") for check in checks]
    return checks
