# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of what the application answered: its broker, its results, its workers, its queues, its tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import (
    Check,
    Expectation,
    Observation,
    unasked,
)

__all__ = [
    "backend_works",
    "backlog_drains",
    "broker_as_configured",
    "broker_is_master",
    "django_check",
    "queues_consumed",
    "queues_declared",
    "same",
    "settings_in_effect",
    "tasks_ran",
    "workers_answer",
    "workers_consume",
]

Json = dict[str, Any]
# What `inspect conf` shows in place of a value that may be secret
HIDDEN = "*" * 8


def broker_is_master(expected: Expectation, seen: Observation) -> Check:
    name = "broker is the master"
    if seen.answers is None:
        return unasked(name, seen)
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
        return unasked(name, seen)
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
        return unasked(name, seen)
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
        return unasked(name, seen)
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
    """What the command line gave each worker is what `inspect conf` reads back, and what the worker goes by."""
    name = "settings in effect"
    if not expected.settings:
        return Check(name, None, "no settings to compare with were given")
    if seen.answers is None:
        return unasked(name, seen)
    conf, probes = seen.answers["workers"]["conf"], seen.answers["workers"]["probes"]
    wrong, compared = [], 0
    for deployment, settings in expected.settings.items():
        for pod in seen.worker_pods.get(deployment, ()):
            worker = next((each for each in conf if each.endswith(f"@{pod['metadata']['name']}")), None)
            for key, value in settings.items() if worker else ():
                found = conf[worker].get(key)
                if key == "worker_prefetch_multiplier":
                    # Celery takes it from its own option; the settings may say something else.
                    found = probes.get(worker, {}).get("prefetch_multiplier", found)
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
    if not seen.sent:
        return Check(name, None, "no task was to be sent")
    if seen.answers is None or seen.answers["tasks"] is None:
        return unasked(name, seen)
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


def broker_as_configured(expected: Expectation, seen: Observation) -> Check:
    """The URL that the application uses is the one that its pod was given: nothing on the way has replaced it."""
    name = "broker URL in effect"
    if seen.answers is None:
        return unasked(name, seen)
    used, given = seen.answers["broker"]["url"], seen.answers.get("given_url")
    if not given:
        return Check(name, None, f"{used}; the pod's environment has no CELERY_BROKER_URL to compare with")
    return Check(
        name,
        _place(used) == _place(given),
        f"{used}" + ("" if _place(used) == _place(given) else f" instead of {given}"),
        "look for what sets the broker in the application after it has read CELERY_BROKER_URL",
    )


def _place(url: str) -> tuple[str, str, str]:
    """What of a URL says where it leads: scheme, host and port, database."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path.strip("/") or "0"


def backend_works(expected: Expectation, seen: Observation) -> Check:
    name = "result backend works"
    if seen.answers is None:
        return unasked(name, seen)
    backend = seen.answers.get("backend")
    if backend is None:
        return unasked(name, seen)
    if backend["kind"] == "disabled":
        return Check(name, None, "the application keeps no results")
    return Check(
        name,
        not backend["problem"],
        backend["problem"] or f"{seen.answers['broker']['backend']} takes writes",
        "run site.yml with --tags celery: redis_master writes the master into CELERY_RESULT_BACKEND",
    )


def django_check(expected: Expectation, seen: Observation) -> Check:
    """What manage.py check says, with the settings of a worker's pod."""
    name = "manage.py check"
    if seen.answers is None:
        return unasked(name, seen)
    django = seen.answers.get("django")
    if django is None:
        return Check(name, None, "the application has no Django")
    return Check(
        name,
        not django["errors"],
        "; ".join(django["errors"][:3]) or f"no errors, {len(django['warnings'])} warnings",
        "correct what it names in the settings; Celery itself looks at none of it",
    )


def queues_declared(expected: Expectation, seen: Observation) -> Check:
    """The queues as the application sees them."""
    name = "queues declared"
    if seen.answers is None:
        return unasked(name, seen)
    declared = seen.answers.get("declared")
    if declared is None:
        return unasked(name, seen)
    missing = [queue for queue in expected.queues if queue not in declared["queues"]]
    if missing and declared["creates_missing"]:
        return Check(name, True, f"{len(declared['queues'])} declared; made when they are used: {', '.join(missing)}")
    return Check(
        name,
        not missing,
        f"not declared by the application: {', '.join(missing)}" if missing else ", ".join(declared["queues"]),
        "add them to task_queues in the application's settings",
    )


def backlog_drains(expected: Expectation, seen: Observation) -> Check:
    """What waits gets less, or is being worked on. That much waits is no failure."""
    name = "backlog drains"
    if seen.answers is None:
        return unasked(name, seen)
    readings = seen.answers.get("backlog")
    if not readings:
        return Check(name, None, seen.answers.get("backlog_problem") or "the backlog was not read")
    before, after = readings
    stuck = [
        f"{queue}: {now['ready']} wait, none is in work"
        for queue, now in after.items()
        if now["ready"] and not now["unacked"] and now["ready"] >= before.get(queue, now)["ready"]
    ]
    ready, unacked = (sum(one[key] for one in after.values()) for key in ("ready", "unacked"))
    return Check(
        name,
        not stuck,
        "; ".join(stuck[:4]) or f"{len(after)} queues: {ready} wait, {unacked} in work",
        "see the checks of workers and of queues; celeryops.platform.celery_doctor names the cause",
    )
