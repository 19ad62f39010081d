# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why objects do not get ready: their pods, the events about them, and the pods' last words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .client import Api, KubeError
from .pods import (
    NEVER,
    SOON,
    Trouble,
    budget_trouble,
    claim_trouble,
    creation_trouble,
    mount_trouble,
    scheduling_trouble,
    trouble_of,
    unready_trouble,
)
from .resources import Json, ObjectRef, key_of

__all__ = ["Evidence", "Look", "Pods"]

_LOG_LINES, _SHOWN_LOG_LINES, _EVENTS = 20, 5, 5
_REVISION = "deployment.kubernetes.io/revision"
_DAEMON_REVISION = "deprecated.daemonset.template.generation"
_CLAIM = "PersistentVolumeClaim"
_MAKERS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
_MOUNTS = ("FailedMount", "FailedAttachVolume")
_STARTING = ("ContainerCreating", "PodInitializing")


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


@dataclass(slots=True)
class Look:
    """What the API server said at one moment, by namespace: pods, ReplicaSets; and the events by the object's uid."""

    pods: dict[str, list[Json]] = field(default_factory=dict)
    sets: dict[str, list[Json]] = field(default_factory=dict)
    events: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))

    def pods_of(self, obj: Json) -> Pods:
        """Empty for objects that have no pods."""
        if obj["kind"] == "Pod":
            return Pods(None, (obj,))
        maker = self._maker(obj)
        if maker is None:
            return Pods(None, ())
        return Pods(
            maker,
            tuple(
                pod
                for pod in self.pods.get(obj["metadata"].get("namespace") or "", [])
                if not pod["metadata"].get("deletionTimestamp") and _owned_by(pod, maker)
            ),
        )

    def _maker(self, obj: Json) -> Json | None:
        if obj["kind"] != "Deployment":
            return obj
        revision = (obj["metadata"].get("annotations") or {}).get(_REVISION)
        for candidate in self.sets.get(obj["metadata"]["namespace"], []):
            present = (candidate["metadata"].get("annotations") or {}).get(_REVISION) == revision
            if present and _owned_by(candidate, obj):
                return candidate
        return None

    def latest(self, obj: Json, *reasons: str) -> tuple[str, str] | None:
        """(reason, message) of the latest event about an object that has one of the reasons."""
        found = [event for event in self.events.get(obj["metadata"]["uid"], []) if event.get("reason") in reasons]
        if not found:
            return None
        event = max(found, key=_when)
        return str(event["reason"]), str(event.get("message") or "")


class Evidence:
    """Reads what the API server knows about objects that are waited for."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._nodes: list[Json] | None = None

    def look(self, objects: Iterable[Json], *, events: bool) -> Look:
        """Two or three requests per namespace; with `events` one or two more."""
        look = Look()
        groups: dict[str, list[Json]] = defaultdict(list)
        for obj in objects:
            groups[str(obj["metadata"].get("namespace") or "")].append(obj)
        for namespace, members in groups.items():
            makers = [obj for obj in members if obj["kind"] in _MAKERS]
            selector = _selector(makers[0]) if len(makers) == 1 else None
            if makers:
                look.pods[namespace] = self._api.list("v1", "Pod", namespace, label_selector=selector)
            if any(obj["kind"] == "Deployment" for obj in makers):
                look.sets[namespace] = self._api.list("apps/v1", "ReplicaSet", namespace, label_selector=selector)
            if events and namespace:
                self._read_events(look, namespace, members)
        return look

    def _read_events(self, look: Look, namespace: str, members: list[Json]) -> None:
        selectors = ["type=Warning"]
        if any(obj["kind"] == _CLAIM for obj in members):
            # Some of what is wrong with a claim is not told as a warning.
            selectors.append(f"involvedObject.kind={_CLAIM},type=Normal")
        for selector in selectors:
            for event in self._api.list("v1", "Event", namespace, field_selector=selector):
                look.events[str(event["involvedObject"].get("uid") or "")].append(event)

    def troubles(self, obj: Json, look: Look) -> list[Trouble]:
        """What keeps an object from getting ready, the most hopeless first."""
        if obj["kind"] == _CLAIM:
            said = look.latest(obj, "FailedBinding", "ProvisioningFailed", "WaitForFirstConsumer")
            trouble = claim_trouble(obj, *said) if said else None
            return [trouble] if trouble else []
        if obj["kind"] == "PodDisruptionBudget":
            trouble = budget_trouble(obj)
            return [trouble] if trouble else []
        pods = look.pods_of(obj)
        found = []
        for pod in pods.pods:
            trouble = self._of_pod(pod, look)
            if trouble is not None:
                if obj["kind"] == "Job" and trouble.previous:
                    # How often its pods may end, a Job knows by itself.
                    trouble = trouble.passing(NEVER)
                elif not _is_present(pod, obj):
                    # It is about to be replaced.
                    trouble = trouble.passing(SOON)
                found.append(trouble)
        maker = pods.maker
        if maker is not None and len(pods.pods) < _wanted(maker):
            # Pods that could not even be made leave no trace but events.
            said = look.latest(maker, "FailedCreate")
            found += [creation_trouble(maker, said[1])] if said else []
        return sorted(found, key=lambda trouble: trouble.patience)

    def _of_pod(self, pod: Json, look: Look) -> Trouble | None:
        trouble = trouble_of(pod)
        if trouble is not None and trouble.reason == "Unschedulable":
            return scheduling_trouble(trouble, pod, self._all_nodes())
        if trouble is None and _is_starting(pod):
            said = look.latest(pod, *_MOUNTS)
            return mount_trouble(pod, *said) if said else None
        return trouble

    def _all_nodes(self) -> list[Json]:
        """Read once; none for users who may not see nodes, to whom no shortage looks lasting then."""
        if self._nodes is None:
            try:
                self._nodes = self._api.list("v1", "Node")
            except KubeError as error:
                if error.status != 403:
                    raise
                self._nodes = []
        return self._nodes

    def error(self, obj: Json, state: str, trouble: Trouble | None) -> KubeError:
        """The failure of one object, whose `state` is said in words, with everything that may explain it.

        Without a `trouble` it is looked for here.
        """
        key = key_of(obj)
        look = self.look([obj], events=True)
        pods = look.pods_of(obj)
        trouble = trouble or next(iter(self.troubles(obj, look)), None)
        trouble = trouble or next(filter(None, map(unready_trouble, pods.pods)), None)
        events = _told(look, [obj, pods.maker, *pods.pods])
        log = self._log(key.namespace, trouble)
        found = [state]
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


def _told(look: Look, objects: Iterable[Json | None]) -> list[str]:
    """The latest warnings about these very objects: those about pods of the same names before them are old."""
    uids = {obj["metadata"]["uid"] for obj in objects if obj is not None}
    found: list[str] = []
    for event in sorted((event for uid in uids for event in look.events.get(uid, [])), key=_when):
        if event.get("type") != "Warning":
            continue
        text = f"{event.get('reason')}: {' '.join(str(event.get('message') or '').split())}"
        if text not in found:
            found.append(text)
    return found[-_EVENTS:]


def _wanted(maker: Json) -> int:
    """How many pods a controller is to make."""
    spec, status = maker.get("spec") or {}, maker.get("status") or {}
    counts = {"DaemonSet": status.get("desiredNumberScheduled"), "Job": spec.get("parallelism")}
    found = counts.get(maker["kind"], spec.get("replicas"))
    return 1 if found is None else int(found)


def _selector(obj: Json) -> str | None:
    labels = ((obj.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items()) or None


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


def _is_starting(pod: Json) -> bool:
    """Whether containers wait for what comes before them: volumes, a network."""
    status = pod.get("status") or {}
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return any(((one.get("state") or {}).get("waiting") or {}).get("reason") in _STARTING for one in containers)


def _when(event: Mapping[str, Any]) -> str:
    made = event["metadata"].get("creationTimestamp")
    return str(event.get("lastTimestamp") or event.get("eventTime") or made or "")
