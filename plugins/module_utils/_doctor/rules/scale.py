# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fewer pods than there ought to be, although nothing fails."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Workload

__all__ = ["RULES"]


def _scalers(seen: Snapshot) -> dict[str, Mapping[str, Any]]:
    """Autoscaler by the name of the Deployment that it scales."""
    return {
        one["spec"]["scaleTargetRef"]["name"]: one
        for one in seen.kind("HorizontalPodAutoscaler")
        if one["spec"]["scaleTargetRef"].get("kind") == "Deployment"
    }


def autoscaler(seen: Snapshot) -> Iterator[Verdict]:
    cause = "autoscaler-holds"
    if not seen.seen("HorizontalPodAutoscaler"):
        yield Unseen(cause, seen.gap("HorizontalPodAutoscaler") or "the autoscalers were not read")
        return
    scalers = _scalers(seen)
    for workload in seen.celery:
        scaler = scalers.get(workload.name)
        reasons = list(_too_few(seen, workload)) if scaler else []
        if not scaler or not reasons:
            continue
        name, spec = scaler["metadata"]["name"], scaler["spec"]
        status = scaler.get("status") or {}
        conditions = [
            f"{one['type']} {one['status']}: {one.get('message') or one.get('reason')}"
            for one in status.get("conditions") or ()
            if (one["type"], one["status"])
            in (("ScalingActive", "False"), ("ScalingLimited", "True"), ("AbleToScale", "False"))
        ]
        yield Finding(
            cause,
            f"Autoscaler {name} holds {workload.subject} at {workload.wanted}",
            Stage.SCALE,
            Confidence.CERTAIN,
            (
                Evidence(
                    f"horizontalpodautoscaler/{name}",
                    f"minReplicas {spec.get('minReplicas', 1)}, maxReplicas {spec.get('maxReplicas')}, "
                    f"currentReplicas {status.get('currentReplicas')}, desiredReplicas {status.get('desiredReplicas')}",
                ),
                *(Evidence(f"horizontalpodautoscaler/{name}", trimmed(one)) for one in conditions[:1]),
                *reasons[:2],
            ),
            f"kubectl -n {seen.namespace} patch hpa {name} --type=merge -p "
            f'\'{{"spec":{{"minReplicas":{_least(seen, workload)}}}}}\', or delete it (kubectl -n {seen.namespace} '
            f"delete "
            f"hpa {name}) and run site.yml with --tags worker. CPU tells little of a worker that waits",
            (workload.subject,),
        )
        return
    if not scalers:
        yield RuledOut(cause, "no autoscaler has a Deployment of Celery for its target")
    else:
        yield RuledOut(cause, f"{len(scalers)} autoscalers keep as many pods as there ought to be")


def _least(seen: Snapshot, workload: Workload) -> int:
    """How many pods there ought to be, as far as that is known."""
    given = seen.replicas.get(workload.name)
    if given:
        return given
    wanted = [int(one["spec"]["minAvailable"]) + 1 for one in _budgets(seen, workload)]
    return max([2, *wanted])


def _budgets(seen: Snapshot, workload: Workload) -> list[Mapping[str, Any]]:
    labels = (workload.obj["spec"]["template"].get("metadata") or {}).get("labels") or {}
    return [
        one
        for one in seen.kind("PodDisruptionBudget")
        if isinstance(one["spec"].get("minAvailable"), int)
        and ((one["spec"].get("selector") or {}).get("matchLabels") or {}).items() <= labels.items()
    ]


def _too_few(seen: Snapshot, workload: Workload) -> Iterator[Evidence]:
    """What shows that a Deployment's number of pods is not what somebody wanted."""
    given = seen.replicas.get(workload.name)
    if given is not None and workload.wanted < given:
        yield Evidence("the replicas that were asked for", f"{workload.subject}: {given}, but it has {workload.wanted}")
    for budget in _budgets(seen, workload):
        least = int(budget["spec"]["minAvailable"])
        if workload.wanted < least:
            yield Evidence(
                f"poddisruptionbudget/{budget['metadata']['name']}",
                f"minAvailable {least}, but {workload.subject} has {workload.wanted}",
            )


def scaled_down(seen: Snapshot) -> Iterator[Verdict]:
    cause = "scaled-down"
    scalers = _scalers(seen)
    # A standby that is scaled to none on purpose has no more wanted pods anywhere.
    found = [
        one
        for one in seen.celery
        if one.name not in scalers and (one.wanted == 0 or one.wanted < seen.replicas.get(one.name, 0))
    ]
    if not found:
        yield RuledOut(cause, "every Deployment of Celery wants its pods")
        return
    one = found[0]
    target = seen.replicas.get(one.name) or 1
    yield Finding(
        cause,
        f"{one.subject} is scaled to {one.wanted}",
        Stage.SCALE,
        Confidence.CERTAIN,
        tuple(Evidence(each.subject, f"spec.replicas {each.wanted}") for each in found[:3]),
        f"kubectl -n {seen.namespace} scale {one.subject} --replicas={target}, or run site.yml with --tags celery",
        tuple(each.subject for each in found),
    )


def absent(seen: Snapshot) -> Iterator[Verdict]:
    cause = "nothing-deployed"
    if not seen.seen("Deployment"):
        yield Unseen(cause, seen.gap("Deployment") or "the Deployments were not read")
        return
    there = {one.name for one in seen.celery}
    missing = [name for name in (*seen.workers, *seen.beats) if name not in there]
    if there and not missing:
        yield RuledOut(cause, f"{len(there)} Deployments of Celery are there")
        return
    yield Finding(
        cause,
        f"There is no Deployment {', '.join(missing)}"
        if missing
        else f"Nothing of Celery runs in namespace {seen.namespace}",
        Stage.SCALE,
        Confidence.CERTAIN,
        (
            Evidence(
                f"Deployments of namespace {seen.namespace}",
                ", ".join(one["metadata"]["name"] for one in seen.kind("Deployment")) or "none",
            ),
        ),
        "run site.yml with --tags celery, or name the Deployments in workers and beats",
        tuple(f"deployment/{name}" for name in missing),
        # Where Redis or the database do not come up, site.yml has not come so far.
        consequence=True,
    )


RULES: tuple[Rule, ...] = (autoscaler, scaled_down, absent)
