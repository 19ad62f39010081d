# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an object does not get ready: its pods, their events and their last words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .client import Api, KubeError
from .pods import Trouble, trouble_of
from .resources import Json, ObjectRef, key_of
from .wait import progress_of

__all__ = ["Evidence", "Pods"]

_LOG_LINES, _SHOWN_LOG_LINES, _EVENTS = 20, 5, 5
_REVISION = "deployment.kubernetes.io/revision"
_DAEMON_REVISION = "deprecated.daemonset.template.generation"


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of a workload's present revision, and whatever else its controller has not replaced yet.

    `maker` is the object that makes the pods: of a Deployment its ReplicaSet. None when there is none yet.
    """

    maker: Json | None
    pods: tuple[Json, ...]

    @property
    def restarts(self) -> int:
        """How often containers of these pods have ended and been started again, in all."""
        return sum(
            int(container.get("restartCount") or 0)
            for pod in self.pods
            for container in (pod.get("status") or {}).get("containerStatuses") or []
        )


class Evidence:
    """Reads what the API server knows about the pods of an object."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def pods_of(self, obj: Json) -> Pods:
        """Empty for objects that have no pods."""
        if obj["kind"] == "Pod":
            return Pods(None, (obj,))
        labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
        if not labels:
            return Pods(None, ())
        namespace = obj["metadata"]["namespace"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        maker = self._maker(obj, namespace, selector)
        if maker is None:
            return Pods(None, ())
        found = [
            pod
            for pod in self._api.list("v1", "Pod", namespace, label_selector=selector)
            if not pod["metadata"].get("deletionTimestamp") and _owned_by(pod, maker)
        ]
        return Pods(maker, tuple(found))

    def _maker(self, obj: Json, namespace: str, selector: str) -> Json | None:
        if obj["kind"] != "Deployment":
            return obj
        revision = (obj["metadata"].get("annotations") or {}).get(_REVISION)
        for candidate in self._api.list("apps/v1", "ReplicaSet", namespace, label_selector=selector):
            present = (candidate["metadata"].get("annotations") or {}).get(_REVISION) == revision
            if present and _owned_by(candidate, obj):
                return candidate
        return None

    def troubles(self, obj: Json, pods: Pods) -> list[Trouble]:
        """What keeps the pods from running, the lasting first; pods of an earlier revision count less."""
        found = []
        for pod in pods.pods:
            trouble = trouble_of(pod)
            if trouble is not None:
                found.append(trouble if _is_present(pod, obj) else trouble.passing())
        if pods.maker is not None and len(pods.pods) < int((pods.maker.get("spec") or {}).get("replicas") or 1):
            found += self._refusals(pods.maker)
        return sorted(found, key=lambda trouble: not trouble.lasting)

    def _refusals(self, maker: Json) -> list[Trouble]:
        """Pods that could not even be made (quota, admission) leave no trace but events."""
        meta = maker["metadata"]
        selector = f"involvedObject.uid={meta['uid']},reason=FailedCreate"
        events = self._api.list("v1", "Event", meta["namespace"], field_selector=selector)
        if not events:
            return []
        message = str(max(events, key=_when).get("message") or "")
        return [Trouble(f"of {maker['kind']} {meta['name']}", "FailedCreate", message, lasting=False)]

    def error(self, obj: Json, trouble: Trouble | None) -> KubeError:
        """The failure of one object, with everything that may explain it."""
        key = key_of(obj)
        events = self._events(key.namespace, key.name)
        log = self._log(key.namespace, trouble)
        found = [progress_of(obj).message]
        if trouble:
            found.append(str(trouble))
        if events:
            found.append("events: " + " / ".join(events))
        if log:
            found.append("last log lines: " + " / ".join(log[-_SHOWN_LOG_LINES:]))
        return KubeError(
            f"{key} does not become ready",
            reason=trouble.reason if trouble else "Failed",
            expected=f"{key.kind} {key.name} being complete",
            found="; ".join(found),
            remedy="correct what the reason, the events or the log name, and run again",
            events=events,
            log=log,
        )

    def _events(self, namespace: str, name: str) -> list[str]:
        """The latest warnings about the object and about what was made for it, whose names begin with its own."""
        events = [
            event
            for event in self._api.list("v1", "Event", namespace or None, field_selector="type=Warning")
            if f"{event['involvedObject'].get('name')}-".startswith(f"{name}-")
        ]
        found: list[str] = []
        for event in sorted(events, key=_when):
            text = f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}"
            if text not in found:
                found.append(text)
        return found[-_EVENTS:]

    def _log(self, namespace: str, trouble: Trouble | None) -> list[str]:
        if trouble is None or trouble.container is None:
            return []
        try:
            text = self._api.pod_log(
                namespace, trouble.pod, trouble.container, tail_lines=_LOG_LINES, previous=trouble.previous
            )
        except KubeError:
            # A container that never ran has no log; the evidence is in the events then.
            return []
        return text.splitlines()

    def binding_mode(self, storage_class: str) -> str:
        """When volumes of a class are bound; empty for a class that does not exist."""
        found = self._api.get(ObjectRef("storage.k8s.io/v1", "StorageClass", storage_class)) or {}
        return str(found.get("volumeBindingMode") or "")


def _owned_by(obj: Json, owner: Json) -> bool:
    uid = owner["metadata"]["uid"]
    return any(one.get("uid") == uid for one in obj["metadata"].get("ownerReferences") or [])


def _is_present(pod: Json, owner: Json) -> bool:
    """Whether a pod is of its owner's present revision, as far as the owner tells."""
    labels = pod["metadata"].get("labels") or {}
    revision = (owner.get("status") or {}).get("updateRevision")
    if owner["kind"] == "StatefulSet" and revision:
        return bool(labels.get("controller-revision-hash") == revision)
    generation = (owner["metadata"].get("annotations") or {}).get(_DAEMON_REVISION)
    if owner["kind"] == "DaemonSet" and generation:
        return bool(labels.get("pod-template-generation") == generation)
    return True


def _when(event: Mapping[str, Any]) -> str:
    made = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or made or "")
