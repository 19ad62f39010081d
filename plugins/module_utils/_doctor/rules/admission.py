# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that the API server refuses to make: limits, quotas, accounts, policies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Workload

__all__ = ["RULES"]

_LIMITS = (
    r"limit to request ratio|(maximum|minimum) (cpu|memory|ephemeral-storage) (usage|limit)|must specify (cpu|memory)"
)
_QUOTA = r"exceeded quota|failed quota"
_ACCOUNT = r"serviceaccount \"([^\"]+)\" not found"
_POLICY = r"violates PodSecurity"
_WEBHOOK = r"(failed calling|admission) webhook"
_VARIABLES = {"worker": "celery_worker_resources", "beat": "celery_beat_resources", "other": "the role's *_resources"}


def _refused(seen: Snapshot, pattern: str) -> tuple[list[Workload], tuple[Evidence, ...]]:
    found = [
        (one, source, message)
        for one in seen.workloads
        for source, message in one.refusals
        if re.search(pattern, message)
    ]
    workloads = list({one.subject: one for one, _source, _message in found}.values())
    return workloads, tuple(Evidence(source, trimmed(message)) for _one, source, message in found[:3])


def limit_range(seen: Snapshot) -> Iterator[Verdict]:
    cause = "limit-range"
    workloads, evidence = _refused(seen, _LIMITS)
    if not workloads:
        ranges = len(seen.kind("LimitRange"))
        yield RuledOut(cause, f"no pod was refused by one of {ranges} LimitRanges" if ranges else "there is none")
        return
    one = workloads[0]
    yield Finding(
        cause,
        f"The LimitRange refuses the pods of {one.subject}",
        Stage.ADMISSION,
        Confidence.CERTAIN,
        (*evidence, *_ranges(seen)),
        f"bring limit and request closer in {_VARIABLES[one.role]} (each init container counts too: "
        "celery_pod_init_resources), or raise namespace_max_limit_request_ratio",
        tuple(one.subject for one in workloads),
    )


def _ranges(seen: Snapshot) -> Iterator[Evidence]:
    for one in seen.kind("LimitRange"):
        for item in (one.get("spec") or {}).get("limits") or ():
            ratio = item.get("maxLimitRequestRatio")
            if ratio:
                told = ", ".join(f"{name} {value}" for name, value in sorted(ratio.items()))
                yield Evidence(f"limitrange/{one['metadata']['name']}", f"maxLimitRequestRatio: {told}")


def quota(seen: Snapshot) -> Iterator[Verdict]:
    cause = "quota"
    workloads, evidence = _refused(seen, _QUOTA)
    if not workloads:
        count = len(seen.kind("ResourceQuota"))
        yield RuledOut(cause, f"no pod was refused by one of {count} quotas" if count else "there is none")
        return
    match = re.search(r"(?:exceeded|failed) quota: ([^,:]+)", evidence[0].text)
    name = match[1] if match else "QUOTA"
    yield Finding(
        cause,
        f"ResourceQuota {name} leaves no room for the pods of {workloads[0].subject}",
        Stage.ADMISSION,
        Confidence.CERTAIN,
        evidence,
        f"kubectl -n {seen.namespace} describe resourcequota {name}; raise its hard limits, or lower replicas or "
        f"requests "
        "(celery_worker_replicas, celery_worker_resources)",
        tuple(one.subject for one in workloads),
    )


def service_account(seen: Snapshot) -> Iterator[Verdict]:
    cause = "service-account"
    workloads, evidence = _refused(seen, _ACCOUNT)
    if not workloads:
        yield RuledOut(cause, "no pod was refused for the lack of its service account")
        return
    match = re.search(_ACCOUNT, evidence[0].text)
    name = match[1] if match else "NAME"
    yield Finding(
        cause,
        f"ServiceAccount {name} of {workloads[0].subject} does not exist",
        Stage.ADMISSION,
        Confidence.CERTAIN,
        evidence,
        f"kubectl -n {seen.namespace} create serviceaccount {name}, or correct serviceAccountName in the pod template",
        tuple(one.subject for one in workloads),
    )


def policy(seen: Snapshot) -> Iterator[Verdict]:
    """What else refuses pods: Pod Security, webhooks."""
    cause = "admission-policy"
    workloads, evidence = _refused(seen, f"{_POLICY}|{_WEBHOOK}")
    if not workloads:
        yield RuledOut(cause, "neither Pod Security nor a webhook refused a pod")
        return
    yield Finding(
        cause,
        f"A policy of the cluster refuses the pods of {workloads[0].subject}",
        Stage.ADMISSION,
        Confidence.CERTAIN,
        evidence,
        "correct *_pod_security_context and *_security_context by what the message lists; of a webhook see that it "
        "runs",
        tuple(one.subject for one in workloads),
    )


RULES: tuple[Rule, ...] = (limit_range, quota, service_account, policy)
