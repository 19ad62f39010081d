# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a set of objects at once, and stops early on what will not heal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from .client import Api, KubeError
from .pods import Trouble, trouble_of
from .resources import Json, Key, ObjectRef, key_of
from .wait import Progress, progress_of, waits_for

__all__ = ["wait_for"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 1.0
# Trouble that others may still resolve (a Secret to come, pods that leave a node) counts when it lasts this long.
_PATIENCE = 20.0
_LOG_LINES, _EVENTS = 20, 5
_SELECTED_NODE = "volume.kubernetes.io/selected-node"


def wait_for(api: Api, objects: Iterable[Json], timeout: float) -> None:
    """Returns when every object is done. Raises KubeError with the evidence when one cannot get there."""
    _Waiter(api, timeout).run(objects)


class _Waiter:
    def __init__(self, api: Api, timeout: float) -> None:
        self._api = api
        self._timeout = timeout
        self._troubled: dict[tuple[Key, str, str], float] = {}
        self._late_binding: dict[str, bool] = {}

    def run(self, objects: Iterable[Json]) -> None:
        waiting = {key_of(obj): obj for obj in objects if waits_for(obj)}
        deadline = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while True:
            # What was returned by the write itself may be done already, without another request.
            waiting = {key: obj for key, obj in waiting.items() if not self._is_done(key, obj)}
            if not waiting:
                return
            if time.monotonic() > deadline:
                self._give_up(waiting)
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
            waiting = self._read(waiting)

    def _read(self, waiting: Mapping[Key, Json]) -> dict[Key, Json]:
        groups: dict[tuple[str, str, str], list[Key]] = defaultdict(list)
        for key, obj in waiting.items():
            groups[str(obj["apiVersion"]), key.kind, key.namespace].append(key)
        found: dict[Key, Json] = {}
        for (version, kind, namespace), keys in groups.items():
            if len(keys) == 1:
                one = self._api.get(ObjectRef(version, kind, keys[0].name, namespace or None))
                objects = [one] if one else []
            else:
                objects = self._api.list(version, kind, namespace or None)
            found.update({key_of(obj): obj for obj in objects})
        gone = [str(key) for key in waiting if key not in found]
        if gone:
            raise KubeError(
                f"{', '.join(gone)} vanished while it was waited for",
                expected="that nobody deletes what is being applied",
                found="no such object",
                remedy="run again when whoever deletes it is done",
            )
        return {key: found[key] for key in waiting}

    def _is_done(self, key: Key, obj: Json) -> bool:
        progress = progress_of(obj)
        if progress.done or (key.kind == "PersistentVolumeClaim" and self._binds_later(obj)):
            return True
        troubles = self._troubles(obj) if "selector" in (obj.get("spec") or {}) or key.kind == "Pod" else []
        for trouble in troubles:
            since = self._troubled.setdefault((key, trouble.pod, trouble.reason), time.monotonic())
            if trouble.lasting or time.monotonic() - since > _PATIENCE:
                raise self._evidence(key, obj, progress, trouble)
        if progress.failed:
            raise self._evidence(key, obj, progress, next(iter(troubles), None))
        return False

    def _binds_later(self, claim: Json) -> bool:
        """Whether the claim's class binds only when a pod uses it, and no pod does yet."""
        if _SELECTED_NODE in (claim["metadata"].get("annotations") or {}):
            return False
        name = str(claim["spec"].get("storageClassName") or "")
        if name and name not in self._late_binding:
            found = self._api.get(ObjectRef("storage.k8s.io/v1", "StorageClass", name)) or {}
            self._late_binding[name] = found.get("volumeBindingMode") == "WaitForFirstConsumer"
        return self._late_binding.get(name, False)

    # Evidence

    def _troubles(self, obj: Json) -> list[Trouble]:
        """What keeps the object's pods from running, the lasting first; pods of an earlier revision count less."""
        if obj["kind"] == "Pod":
            found = trouble_of(obj)
            return [found] if found else []
        labels = obj["spec"]["selector"].get("matchLabels") or {}
        if not labels:
            return []
        namespace = obj["metadata"]["namespace"]
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        maker = self._maker(obj, namespace, selector)
        if maker is None:
            return []
        troubles = []
        pods = [
            pod
            for pod in self._api.list("v1", "Pod", namespace, label_selector=selector)
            if not pod["metadata"].get("deletionTimestamp") and _owned_by(pod, maker)
        ]
        for pod in pods:
            found = trouble_of(pod)
            if found is not None:
                troubles.append(found if _is_present(pod, obj) else _lesser(found))
        if len(pods) < int((maker.get("spec") or {}).get("replicas") or 1):
            troubles += self._refusals(maker, namespace)
        return sorted(troubles, key=lambda trouble: not trouble.lasting)

    def _maker(self, obj: Json, namespace: str, selector: str) -> Json | None:
        """The object that makes the pods: of a Deployment, the ReplicaSet of its present revision."""
        if obj["kind"] != "Deployment":
            return obj
        revision = (obj["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision")
        for candidate in self._api.list("apps/v1", "ReplicaSet", namespace, label_selector=selector):
            annotations = candidate["metadata"].get("annotations") or {}
            present = annotations.get("deployment.kubernetes.io/revision") == revision
            if present and _owned_by(candidate, obj):
                return candidate
        return None

    def _refusals(self, maker: Json, namespace: str) -> list[Trouble]:
        """Pods that could not even be made (quota, admission) leave no trace but events."""
        uid = maker["metadata"]["uid"]
        events = self._api.list(
            "v1", "Event", namespace, field_selector=f"involvedObject.uid={uid},reason=FailedCreate"
        )
        said = [str(event.get("message") or "") for event in sorted(events, key=_when)]
        name = f"of {maker['kind']} {maker['metadata']['name']}"
        return [Trouble(name, "FailedCreate", said[-1], lasting=False)] if said else []

    def _evidence(self, key: Key, obj: Json, progress: Progress, trouble: Trouble | None) -> KubeError:
        namespace = key.namespace
        about = trouble.pod if trouble and not trouble.pod.startswith("of ") else key.name
        events = self._events(namespace, about)
        log = self._log(namespace, trouble)
        found = [progress.message]
        if trouble:
            found.append(str(trouble))
        if events:
            found.append("events: " + " / ".join(events))
        if log:
            found.append("last log lines: " + " / ".join(log[-5:]))
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
        events = self._api.list(
            "v1", "Event", namespace or None, field_selector=f"involvedObject.name={name},type=Warning"
        )
        latest = sorted(events, key=_when)[-_EVENTS:]
        return [f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}" for event in latest]

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

    def _give_up(self, waiting: Mapping[Key, Json]) -> None:
        key, obj = next(iter(waiting.items()))
        troubles = self._troubles(obj) if "selector" in (obj.get("spec") or {}) or key.kind == "Pod" else []
        error = self._evidence(key, obj, progress_of(obj), next(iter(troubles), None))
        others = [f"{other}: {progress_of(one).message}" for other, one in waiting.items() if other != key]
        raise KubeError(
            f"not ready within {self._timeout:g} s: {', '.join(map(str, waiting))}",
            reason="Timeout",
            expected="all objects being complete",
            found="; ".join([f"{key}: {error.found}", *others]),
            remedy="raise `wait_timeout` if it only needs longer, or correct what the evidence names",
            events=error.details["events"],
            log=error.details["log"],
        )


def _owned_by(obj: Json, owner: Json) -> bool:
    uid = owner["metadata"]["uid"]
    return any(one.get("uid") == uid for one in obj["metadata"].get("ownerReferences") or [])


def _is_present(pod: Json, owner: Json) -> bool:
    """Whether a pod is of its owner's present revision, as far as the owner tells."""
    labels = pod["metadata"].get("labels") or {}
    revision = (owner.get("status") or {}).get("updateRevision")
    if owner["kind"] == "StatefulSet" and revision:
        return bool(labels.get("controller-revision-hash") == revision)
    generation = (owner["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
    if owner["kind"] == "DaemonSet" and generation:
        return bool(labels.get("pod-template-generation") == generation)
    return True


def _lesser(trouble: Trouble) -> Trouble:
    return Trouble(trouble.pod, trouble.reason, trouble.message, False, trouble.container, trouble.previous)


def _when(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
