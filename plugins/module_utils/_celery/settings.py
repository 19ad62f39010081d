# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks a snapshot of settings: every rule, every finding at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.capacity import (
    PLATFORM_RULES,
    POOL_RULES,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.contract import queue_contract
from ansible_collections.celeryops.platform.plugins.module_utils._celery.delivery import DELIVERY_RULES
from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import (
    ERROR,
    Finding,
    Limits,
    Pool,
    Snapshot,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["SettingsError", "check", "limits_of", "pool_of", "refuse", "unchecked", "warning"]


class SettingsError(CeleryOpsError):
    """Settings that contradict each other; every error in one message."""

    def __init__(self, errors: Sequence[Finding]) -> None:
        lines = [f"{_where(one)}{one.what}: {one.why}. Change: {one.change}" for one in errors]
        noun = "contradiction" if len(lines) == 1 else "contradictions"
        super().__init__(f"The settings have {len(lines)} {noun}; nothing was applied.\n- " + "\n- ".join(lines))


def _where(finding: Finding) -> str:
    return f"[{finding.rule}] " + (f"pool {finding.pool}: " if finding.pool else "")


def warning(finding: Finding) -> str:
    """One finding as a warning."""
    return f"{_where(finding)}{finding.what}: {finding.why}. Change: {finding.change}"


def check(seen: Snapshot) -> list[Finding]:
    """Every finding, errors first; of the same order for the same snapshot."""
    found = [
        *queue_contract(seen),
        *(finding for pool in seen.pools for rule in (*DELIVERY_RULES, *POOL_RULES) for finding in rule(seen, pool)),
        *(finding for rule in PLATFORM_RULES for finding in rule(seen)),
    ]
    return sorted(found, key=lambda finding: finding.severity != ERROR)


def refuse(findings: Sequence[Finding]) -> None:
    """Raises :class:`SettingsError` when there is an error among them."""
    errors = [finding for finding in findings if finding.severity == ERROR]
    if errors:
        raise SettingsError(errors)


def unchecked(seen: Snapshot) -> list[str]:
    """What no rule could look at, and why."""
    found = []
    survey = seen.survey
    if seen.is_redis and survey["redis"].get("problem"):
        found.append(f"connections and eviction of Redis: {survey['redis']['problem']}")
    if survey["database"].get("max_connections") is None:
        problem = survey["database"].get("problem") or "the application has no Django that leads to a PostgreSQL"
        found.append(f"connections of PostgreSQL: {problem}")
    if not any(item["spec"]["limits"] for item in seen.limits.limit_ranges):
        found.append("resources against a LimitRange: the namespace has none")
    return found


def pool_of(given: Mapping[str, Any]) -> Pool:
    """A pool from the option of the module; raises CeleryOpsError for a surge that is none."""
    replicas, most = int(given["replicas"]), given["max_replicas"]
    return Pool(
        name=given["name"],
        kind=given["kind"],
        queues=tuple(given["queues"]),
        replicas=replicas,
        max_replicas=most,
        max_surge=_surge(given["max_surge"], max(replicas, most or 0)),
        concurrency=given["concurrency"],
        grace_period=float(given["grace_period"]),
        min_available=given["min_available"],
        task_limit=float(given["task_limit"]),
        settings=given["settings"],
        environment={entry["name"]: str(entry["value"]) for entry in given["env"] if entry.get("value") is not None},
        containers={
            "worker": given["resources"],
            **{each["name"]: each.get("resources") or {} for each in given["init_containers"]},
        },
        shm_size=given["shm_size"],
    )


def _surge(value: Any, replicas: int) -> int:
    """Kubernetes takes a number or a percentage, rounded up."""
    text = str(value)
    number = text.removesuffix("%")
    if not number.isdigit():
        raise CeleryOpsError(
            "max_surge cannot be read",
            expected="a number such as 1, or a percentage such as 25%",
            found=repr(value),
            remedy="correct celery_worker_max_surge",
        )
    return -(-replicas * int(number) // 100) if text.endswith("%") else int(number)


def limits_of(params: Mapping[str, Any], limit_ranges: Sequence[dict[str, Any]], metrics_problem: str = "") -> Limits:
    """Limits from the options of the module, the namespace's LimitRanges, and what the metrics API is."""
    pooler = params["pooler"] or {}
    return Limits(
        pooler_client_connections=pooler.get("client_connections"),
        pooler_pool_size=pooler.get("pool_size"),
        pooler_replicas=pooler.get("replicas") or 1,
        limit_ranges=tuple(limit_ranges),
        longest_eta=params["longest_eta"],
        metrics_problem=metrics_problem,
    )
