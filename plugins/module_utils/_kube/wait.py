# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When an object is done: pure predicates over objects as the server returns them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["UNSEEN", "Progress", "budget_progress", "progress_of", "service_progress", "waits_for"]

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an object is. `failed`: it will not get done by itself. `message` says what is missing."""

    done: bool
    failed: bool
    message: str


def _done(message: str = "ready") -> Progress:
    return Progress(True, False, message)


def _busy(message: str) -> Progress:
    return Progress(False, False, message)


def _failed(message: str) -> Progress:
    return Progress(False, True, message)


def _condition(obj: Object, kind: str) -> Mapping[str, Any]:
    for condition in (obj.get("status") or {}).get("conditions") or []:
        if condition.get("type") == kind:
            return dict(condition)
    return {}


def _some(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _said(condition: Mapping[str, Any]) -> str:
    return f"{condition.get('reason', '')}: {condition.get('message', '')}".strip(": ")


def _is_seen(obj: Object) -> bool:
    """Whether the controller has looked at the present spec: before that the status tells of an older one."""
    return int((obj.get("status") or {}).get("observedGeneration") or 0) >= int(obj["metadata"].get("generation") or 0)


# Its status tells of another revision, or of none.
UNSEEN = _busy("its controller has not seen it yet")


def _deployment(obj: Object) -> Progress:
    spec, status = obj["spec"], obj.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    total, updated, available = (
        int(status.get(key) or 0) for key in ("replicas", "updatedReplicas", "availableReplicas")
    )
    progressing = _condition(obj, "Progressing")
    if not _is_seen(obj):
        found = UNSEEN
    elif spec.get("paused"):
        found = _done("paused")
    elif progressing.get("reason") == "ProgressDeadlineExceeded":
        found = _failed(_said(progressing))
    elif updated < wanted:
        found = _busy(f"{updated} of {wanted} pods are of the present revision")
    elif total > updated:
        found = _busy(f"{_some(total - updated, 'pod')} of an earlier revision left to end")
    elif available < wanted:
        found = _busy(f"{available} of {wanted} pods are available")
    else:
        found = _done(f"{available} of {wanted} pods are available")
    return found


def _stateful_set(obj: Object) -> Progress:
    if not _is_seen(obj):
        return UNSEEN
    spec, status = obj["spec"], obj.get("status") or {}
    wanted = int(spec.get("replicas", 1))
    strategy = spec.get("updateStrategy") or {}
    state = "available" if spec.get("minReadySeconds") else "ready"
    total, ready, updated = (int(status.get(key) or 0) for key in ("replicas", f"{state}Replicas", "updatedReplicas"))
    if total != wanted:
        return _busy(f"{total} of {wanted} pods exist")
    if ready < wanted:
        return _busy(f"{ready} of {wanted} pods are {state}")
    if strategy.get("type") != "OnDelete":
        kept = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
        if status.get("currentRevision") != status.get("updateRevision") and updated < wanted - kept:
            return _busy(f"{updated} of {max(0, wanted - kept)} pods are of the present revision")
    return _done(f"{ready} of {wanted} pods are {state}")


def _daemon_set(obj: Object) -> Progress:
    if not _is_seen(obj):
        return UNSEEN
    status = obj.get("status") or {}
    wanted, updated, available = (
        int(status.get(key) or 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return _busy(f"{updated} of {wanted} pods are of the present revision")
    if available < wanted:
        return _busy(f"{available} of {wanted} pods are available")
    return _done(f"{available} of {wanted} pods are available")


def _job(obj: Object) -> Progress:
    failed = _condition(obj, "Failed")
    if failed.get("status") == "True":
        return _failed(_said(failed))
    if _condition(obj, "Complete").get("status") == "True":
        return _done("complete")
    if obj["spec"].get("suspend"):
        return _done("suspended")
    status = obj.get("status") or {}
    failures = f", {status['failed']} failed" if status.get("failed") else ""
    return _busy(f"{status.get('succeeded') or 0} of {obj['spec'].get('completions') or 1} completions{failures}")


def _claim(obj: Object) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Lost":
        return _failed("the volume behind it is lost")
    return _done("bound") if phase == "Bound" else _busy(f"phase {phase or 'unknown'}")


def _definition(obj: Object) -> Progress:
    names = _condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return _failed(_said(names))
    if _condition(obj, "Established").get("status") == "True":
        return _done("established")
    return _busy("not established yet")


def _pod(obj: Object) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Failed":
        return _failed(str((obj.get("status") or {}).get("message") or "it has failed"))
    if phase == "Succeeded" or _condition(obj, "Ready").get("status") == "True":
        return _done(str(phase))
    return _busy(f"phase {phase or 'unknown'}")


def _namespace(obj: Object) -> Progress:
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Terminating":
        return _failed("it is being deleted")
    return _done("active") if phase == "Active" else _busy(f"phase {phase or 'unknown'}")


def _budget(obj: Object) -> Progress:
    return budget_progress(obj, fed=False)


def budget_progress(obj: Object, *, fed: bool) -> Progress:
    """A PodDisruptionBudget is done when its controller has seen it and, where its pods come from the same set (`fed`),
    has counted as many of them as healthy as there are to be. It cannot tell whether other pods will ever be."""
    allowed = _condition(obj, "DisruptionAllowed")
    if allowed.get("reason") == "SyncFailed":
        # Then the controller does not note which generation it has seen.
        return _busy(_said(allowed))
    if not _is_seen(obj):
        return UNSEEN
    status = obj.get("status") or {}
    healthy, desired, expected = (
        int(status.get(key) or 0) for key in ("currentHealthy", "desiredHealthy", "expectedPods")
    )
    if fed and healthy < min(desired, expected):
        return _busy(f"{healthy} of {min(desired, expected)} pods are healthy")
    return _done(f"{_some(int(status.get('disruptionsAllowed') or 0), 'disruption')} allowed")


def service_progress(slices: Iterable[Object]) -> Progress:
    """A Service whose pods come from the same set is done when one of them is ready. `slices`: its EndpointSlices."""
    ready = sum(
        (endpoint.get("conditions") or {}).get("ready") is not False
        for one in slices
        for endpoint in one.get("endpoints") or []
    )
    return _done(f"{_some(ready, 'endpoint')} ready") if ready else _busy("no endpoint ready")


_PREDICATES: dict[tuple[str, str], Callable[[Object], Progress]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "PersistentVolumeClaim"): _claim,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _definition,
    ("", "Pod"): _pod,
    ("", "Namespace"): _namespace,
    ("policy", "PodDisruptionBudget"): _budget,
}


def waits_for(obj: Object) -> bool:
    """Whether there is anything to wait for."""
    return (str(obj["apiVersion"]).rpartition("/")[0], obj["kind"]) in _PREDICATES


def progress_of(obj: Object) -> Progress:
    """Kinds without a predicate are done as soon as they exist."""
    predicate = _PREDICATES.get((str(obj["apiVersion"]).rpartition("/")[0], obj["kind"]))
    return predicate(obj) if predicate else _done("exists")
