# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a set of objects at once, and stops early on what will not heal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Set
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .client import Api, KubeError
from .evidence import Evidence, Look
from .feeding import feeders
from .pods import Trouble
from .resources import Json, Key, key_of
from .streams import Streams
from .wait import UNSEEN, Progress, budget_progress, progress_of, service_progress, waits_for

__all__ = ["wait_for"]

# Watches tell when an object changes; what its pods suffer from is asked for this often, and events less often.
_LOOK_SECONDS, _EVENTS_SECONDS = 1.5, 4.5
# A container without a probe counts as ready while it lives, however short. Where one has been restarted, being ready
# means that for this long it was not restarted again.
_STEADY_SECONDS = 10.0
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_SLICES = ("discovery.k8s.io/v1", "EndpointSlice")
_SERVICE_NAME = "kubernetes.io/service-name"
_WITH_PODS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
_CLAIM, _BUDGET = "PersistentVolumeClaim", "PodDisruptionBudget"


def _nobody(_line: str) -> None:
    """Where lines are for nobody."""


def wait_for(
    api: Api,
    objects: Iterable[Json],
    timeout: float,
    rolled: Set[Key] = frozenset(),
    *,
    changed: Set[Key] = frozenset(),
    report: Report = _nobody,
) -> None:
    """Returns when every object is done. Raises KubeError with the evidence when one cannot get there.

    `rolled` names the workloads whose pods have just been made or replaced, `changed` all objects that have just been
    written. `report` is called with a line for each change of state, but not for what is done when first looked at.
    """
    waiter = _Waiter(api, list(objects), timeout, rolled, report)
    try:
        waiter.run(changed)
    finally:
        waiter.streams.close()


class _Waiter:
    def __init__(self, api: Api, objects: list[Json], timeout: float, rolled: Set[Key], report: Report) -> None:
        self.streams = Streams(api)
        self._evidence = Evidence(api)
        self._objects = {key_of(obj): obj for obj in objects}
        self._feeders = feeders(objects)
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._rolled = rolled
        self._report = report
        self._told: dict[Key, str] = {}
        self._trouble: dict[Key, Trouble] = {}
        self._troubled: dict[tuple[Key, str, str], float] = {}
        self._steady: dict[Key, tuple[int, float]] = {}
        self._binding: dict[str, str] = {}

    def run(self, changed: Set[Key]) -> None:
        waiting = {key for key, obj in self._objects.items() if waits_for(obj) and not self._is_done_already(key)}
        # A Service without change whose pods run already has its endpoints.
        waiting |= {
            key
            for key in self._feeders
            if key.kind == "Service" and (key in changed or waiting.intersection(self._feeders[key]))
        }
        if not waiting:
            return
        self._follow(waiting)
        look = looked_for_events = time.monotonic() + _LOOK_SECONDS
        while True:
            waiting = self._update(waiting)
            if not waiting:
                return
            now = time.monotonic()
            if now > self._deadline:
                raise self._too_late(waiting)
            if now >= look:
                events = now >= looked_for_events
                waiting = self._look(waiting, events=events)
                look = time.monotonic() + _LOOK_SECONDS
                looked_for_events = time.monotonic() + _EVENTS_SECONDS if events else looked_for_events
                continue
            self.streams.wait(min(look, self._deadline) - now)

    def _is_done_already(self, key: Key) -> bool:
        """As the write or the list has returned it, without another request."""
        if self._progress(key).done:
            return key not in self._rolled
        return key.kind == _CLAIM and self._binds_later(self._objects[key])

    def _progress(self, key: Key) -> Progress:
        obj = self._objects[key]
        if key.kind == _BUDGET:
            return budget_progress(obj, fed=key in self._feeders)
        if key.kind == "Service":
            slices = self.streams.objects(*_SLICES, key.namespace) or {}
            return service_progress(
                one for one in slices.values() if (one["metadata"].get("labels") or {}).get(_SERVICE_NAME) == key.name
            )
        return progress_of(obj)

    # What changes

    def _follow(self, waiting: Set[Key]) -> None:
        groups: dict[tuple[str, str, str], list[Key]] = defaultdict(list)
        for key in waiting:
            if key.kind == "Service":
                groups[(*_SLICES, key.namespace)] = []
            else:
                groups[str(self._objects[key]["apiVersion"]), key.kind, key.namespace].append(key)
        for (version, kind, namespace), keys in groups.items():
            self.streams.follow(version, kind, namespace, keys[0].name if len(keys) == 1 else None)

    def _update(self, waiting: Set[Key]) -> set[Key]:
        """Takes in what has changed; returns what is left to wait for."""
        left = set(waiting)
        for key in sorted(waiting):
            if key.kind != "Service":
                known = self.streams.objects(str(self._objects[key]["apiVersion"]), key.kind, key.namespace)
                if known is None:
                    continue
                if key.name not in known:
                    raise _vanished(key)
                self._objects[key] = known[key.name]
            elif self.streams.objects(*_SLICES, key.namespace) is None:
                continue
            if self._is_done(key):
                left.discard(key)
            # It takes a moment until a controller has looked, which is no news; nor is what is done already.
            if self._progress(key) != UNSEEN and (key in left or key in self._told):
                self._tell(key)
        return left

    def _is_done(self, key: Key) -> bool:
        progress = self._progress(key)
        if progress.failed:
            raise self._failure(key)
        if not progress.done:
            return key.kind == _CLAIM and self._binds_later(self._objects[key])
        # The pods of what was just rolled are looked at once more: they may have been restarted.
        return key not in self._rolled or key.kind not in _WITH_PODS or self._is_steady(key, None)

    def _failure(self, key: Key, trouble: Trouble | None = None) -> KubeError:
        return self._evidence.error(self._objects[key], self._progress(key).message, trouble)

    def _is_steady(self, key: Key, look: Look | None) -> bool:
        known, since = self._steady.get(key, (-1, 0.0))
        if look is None and known > 0:
            # Asked again with the next look.
            return time.monotonic() - since > _STEADY_SECONDS
        obj = self._objects[key]
        restarts = (look or self._evidence.look([obj], events=False)).pods_of(obj).restarts
        if restarts != known:
            since = time.monotonic()
            self._steady[key] = (restarts, since)
        return restarts == 0 or time.monotonic() - since > _STEADY_SECONDS

    def _tell(self, key: Key) -> None:
        """Reports the object's state when it is another one than before."""
        said = self._progress(key).message
        if key in self._trouble:
            said += f" ({self._trouble[key]})"
        if said != self._told.get(key):
            self._told[key] = said
            self._report(f"{key}: {said}")

    # What does not heal

    def _look(self, waiting: Set[Key], *, events: bool) -> set[Key]:
        """Looks for what keeps objects from getting ready; raises what will do so for good."""
        keys = [key for key in sorted(waiting) if key.kind in (*_WITH_PODS, _CLAIM, _BUDGET)]
        look = self._evidence.look((self._objects[key] for key in keys), events=events)
        left = set(waiting)
        for key in sorted(waiting - set(keys)):
            self._tell(key)
        for key in keys:
            obj = self._objects[key]
            if self._progress(key).done and self._is_steady(key, look):
                left.discard(key)
                continue
            troubles = self._evidence.troubles(obj, look)
            for trouble in troubles:
                since = self._troubled.setdefault((key, trouble.where, trouble.reason), time.monotonic())
                if time.monotonic() - since >= trouble.patience:
                    raise self._failure(key, trouble)
            if troubles:
                self._trouble[key] = troubles[0]
            elif events:
                # Without events it may only not have been seen.
                self._trouble.pop(key, None)
            self._tell(key)
        return left

    def _binds_later(self, claim: Json) -> bool:
        """Whether the claim's class binds only when a pod uses it, and no pod does yet."""
        name = str(claim["spec"].get("storageClassName") or "")
        if not name or _SELECTED_NODE in (claim["metadata"].get("annotations") or {}):
            return False
        if name not in self._binding:
            self._binding[name] = self._evidence.binding_mode(name)
        return self._binding[name] == "WaitForFirstConsumer"

    def _too_late(self, waiting: Set[Key]) -> KubeError:
        found: list[str] = []
        details: dict[str, Any] = {}
        # What has pods is looked into first, and one only: the others may just be waiting for it.
        for key in sorted(waiting, key=lambda key: (key.kind not in _WITH_PODS, key)):
            if details:
                found.append(f"{key}: {self._progress(key).message}")
                continue
            error = self._failure(key)
            found.append(f"{key}: {error.found}")
            details = {"events": error.details["events"], "log": error.details["log"]}
        return KubeError(
            f"not ready within {self._timeout:g} s: {', '.join(map(str, sorted(waiting)))}",
            reason="Timeout",
            expected="all objects being complete",
            found="; ".join(found),
            remedy="raise `wait_timeout` if it only needs longer, or correct what the evidence names",
            **details,
        )


def _vanished(key: Key) -> KubeError:
    return KubeError(
        f"{key} vanished while it was waited for",
        expected="that nobody deletes what is being applied",
        found="no such object",
        remedy="run again when whoever deletes it is done",
    )
