# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker pools as they are declared, made complete; and the command line that runs one."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.autoscale import autoscaling
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["DEFAULT", "LEAST", "complete", "words"]

Json = dict[str, Any]

# Its Deployment has the workload's own name; others get their pool's name appended.
DEFAULT = "default"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
# The Deployment's name becomes a label; its pods' names get seventeen characters more.
LONGEST = 46

# The least that a number may be; the roles' specifications say the same.
LEAST = {"replicas": 0, "concurrency": 1, "min_available": 0}

# Celery fills in these options of its command line before it reads the settings that follow them, so such a setting
# is shown by `inspect conf`, and has no effect. Source: celery/bin/worker.py of 5.6.3.
OPTIONS = {"worker_prefetch_multiplier": "--prefetch-multiplier", "worker_state_db": "--statedb"}
FIELDS = {"worker_pool": "kind", "worker_concurrency": "concurrency"}

# What a pool adds to instead of replacing it
MERGED = ("settings", "startup_probe", "liveness_probe", "readiness_probe")
APPENDED = ("env", "volumes", "volume_mounts")


def complete(pools: Sequence[Mapping[str, Any]], defaults: Mapping[str, Any], workload: str) -> list[Json]:
    """Every pool with every field; raises CeleryOpsError for names that cannot be.

    ``defaults`` are the fields of a pool that declares none. Mappings of MERGED are merged, lists of APPENDED are
    appended to, all else is replaced. ``replicas`` of an autoscaled pool is its minimum. Added are ``deployment``, the
    name of the pool's Deployment, ``max_replicas``, the most pods that an autoscaler may make, None without one, and
    ``disruption``, what the PodDisruptionBudget says.
    """
    if not pools:
        raise CeleryOpsError(
            "No worker pool is declared",
            expected="at least one pool",
            found="an empty list",
            remedy="Name one in celery_worker_pools; its other fields have defaults.",
        )
    _refuse_names(pools, workload)
    return [_complete(pool, defaults, workload) for pool in pools]


def _complete(pool: Mapping[str, Any], defaults: Mapping[str, Any], workload: str) -> Json:
    found: Json = {**defaults, **pool}
    for field in MERGED:
        found[field] = {**defaults.get(field, {}), **pool.get(field, {})}
    for field in APPENDED:
        found[field] = [*defaults.get(field, []), *pool.get(field, [])]
    _refuse_settings(found)
    found["deployment"] = workload if pool["name"] == DEFAULT else f"{workload}-{pool['name']}"
    if found["kind"] == "solo" and "concurrency" not in pool:
        found["concurrency"] = 1
    for field, least in LEAST.items():
        found[field] = int(found[field])
        if found[field] < least:
            raise CeleryOpsError(
                f"A size of worker pool {pool['name']} cannot be",
                expected=f"{field} of at least {least}",
                found=str(found[field]),
                remedy=f"Correct celery_worker_{field}, or {field} of the pool in celery_worker_pools.",
            )
    found["autoscale"] = autoscaling(found["name"], found.get("autoscale"), found["replicas"])
    found["replicas"] = found["autoscale"].get("min", found["replicas"])
    found["max_replicas"] = found["autoscale"].get("max")
    if "min_available" in pool or not found["autoscale"]:
        if "min_available" not in pool:
            # A small pool must let a pod go as well.
            found["min_available"] = max(0, min(found["min_available"], found["replicas"] - 1))
        found["disruption"] = {"minAvailable": found["min_available"]}
    else:
        # A number that fits the minimum would let nearly all pods of a busy pool go at once.
        found["min_available"] = 0
        found["disruption"] = {"maxUnavailable": 1}
    return found


def _refuse_settings(pool: Mapping[str, Any]) -> None:
    """Settings that Celery would show and not follow."""
    settings = pool["settings"]
    problem = next(((key, f"{field} of the pool") for key, field in FIELDS.items() if key in settings), None)
    if str(settings.get("worker_prefetch_multiplier", 1)) == "0":
        problem = ("worker_prefetch_multiplier", "1 or more; only the application itself can set 0, which is no limit")
    if problem:
        key, expected = problem
        raise CeleryOpsError(
            f"A setting of worker pool {pool['name']} would have no effect",
            expected=expected,
            found=f"{key}: {settings[key]} among its settings, which Celery reads too late",
            remedy="Correct celery_worker_settings, or settings of the pool in celery_worker_pools.",
        )


def _refuse_names(pools: Sequence[Mapping[str, Any]], workload: str) -> None:
    names = [str(pool.get("name", "")) for pool in pools]
    twice = [name for name, count in Counter(names).items() if count > 1]
    wrong = [name for name in names if not NAME.fullmatch(name) or len(f"{workload}-{name}") > LONGEST]
    if twice or wrong:
        raise CeleryOpsError(
            "Names of worker pools cannot be used",
            expected=f"different names of small letters, digits and dashes, {LONGEST} characters with '{workload}-'",
            found=", ".join([*(f"{name!r} twice" for name in twice), *map(repr, wrong)]),
            remedy="Rename them in celery_worker_pools.",
        )


def words(pool: Mapping[str, Any], app: str, executable: Sequence[str]) -> list[str]:
    """The command line of one worker: ``celery -A app worker ... -- key=value``."""
    found = [
        *executable,
        "-A",
        app,
        "worker",
        f"--loglevel={pool['log_level']}",
        f"--pool={pool['kind']}",
        f"--concurrency={pool['concurrency']}",
        f"--queues={','.join(pool['queues'])}",
        *(f"{flag}={pool['settings'][key]}" for key, flag in OPTIONS.items() if key in pool["settings"]),
        *map(str, pool["flags"]),
    ]
    if pool["settings"]:
        found += ["--", *(f"{key}={_text(value)}" for key, value in sorted(pool["settings"].items()))]
    return found


def _text(value: Any) -> str:
    """As Celery's command line reads it: a type in brackets where the text alone would not tell."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"(dict){json.dumps(value, sort_keys=True)}"
    if isinstance(value, (list, tuple)):
        return f"(list){json.dumps(value)}"
    return str(value)
