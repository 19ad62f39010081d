# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a set of objects at once, and stops early on what will not heal."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .client import Api, KubeError
from .evidence import Evidence
from .resources import Json, Key, ObjectRef, key_of
from .wait import progress_of, waits_for

__all__ = ["wait_for"]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 1.0
# Trouble that others may still resolve (a Secret to come, pods that leave a node) counts when it lasts this long.
_PATIENCE = 20.0
# A container without a probe counts as ready while it lives, however short. Where one has been restarted, being ready
# means that for this long it was not restarted again.
_STEADY = 10.0
_SELECTED_NODE = "volume.kubernetes.io/selected-node"


def wait_for(
    api: Api, objects: Iterable[Json], timeout: float, rolled: Set[Key] = frozenset(), *, report: Report
) -> None:
    """Returns when every object is done. Raises KubeError with the evidence when one cannot get there.

    `rolled` names the workloads whose pods have just been made or replaced. `report` is called with a line for each
    change of state, but not for what is done when first looked at.
    """
    _Waiter(api, timeout, rolled, report).run(objects)


class _Waiter:
    def __init__(self, api: Api, timeout: float, rolled: Set[Key], report: Report) -> None:
        self._api = api
        self._evidence = Evidence(api)
        self._timeout = timeout
        self._rolled = rolled
        self._report = report
        self._told: dict[Key, str] = {}
        self._troubled: dict[tuple[Key, str, str], float] = {}
        self._steady: dict[Key, tuple[int, float]] = {}
        self._binding: dict[str, str] = {}

    def run(self, objects: Iterable[Json]) -> None:
        waiting = {key_of(obj): obj for obj in objects if waits_for(obj)}
        deadline = time.monotonic() + self._timeout
        pause = _FIRST_PAUSE
        while True:
            # What was returned by the write itself may be done already, without another request.
            left = {key: obj for key, obj in waiting.items() if not self._is_done(key, obj)}
            for key, obj in waiting.items():
                self._tell(key, obj, news=pause > _FIRST_PAUSE)
            waiting = left
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise self._too_late(waiting)
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
        if key.kind == "PersistentVolumeClaim":
            return progress.done or self._binds_later(obj)
        if progress.done and key not in self._rolled:
            return True
        pods = self._evidence.pods_of(obj)
        if progress.done and self._is_steady(key, pods.restarts):
            return True
        troubles = self._evidence.troubles(obj, pods)
        for trouble in troubles:
            since = self._troubled.setdefault((key, trouble.pod, trouble.reason), time.monotonic())
            if trouble.lasting or time.monotonic() - since > _PATIENCE:
                raise self._evidence.error(obj, trouble)
        if progress.failed:
            raise self._evidence.error(obj, next(iter(troubles), None))
        return False

    def _tell(self, key: Key, obj: Json, *, news: bool) -> None:
        """Reports the object's state when it is another one than before, and `news`: not as the write left it."""
        said = progress_of(obj).message
        if news and said != self._told.get(key):
            self._report(f"{key}: {said}")
        self._told[key] = said if news else ""

    def _is_steady(self, key: Key, restarts: int) -> bool:
        known, since = self._steady.get(key, (-1, 0.0))
        if restarts != known:
            since = time.monotonic()
            self._steady[key] = (restarts, since)
        return restarts == 0 or time.monotonic() - since > _STEADY

    def _binds_later(self, claim: Json) -> bool:
        """Whether the claim's class binds only when a pod uses it, and no pod does yet."""
        name = str(claim["spec"].get("storageClassName") or "")
        if not name or _SELECTED_NODE in (claim["metadata"].get("annotations") or {}):
            return False
        if name not in self._binding:
            self._binding[name] = self._evidence.binding_mode(name)
        return self._binding[name] == "WaitForFirstConsumer"

    def _too_late(self, waiting: Mapping[Key, Json]) -> KubeError:
        found: list[str] = []
        details: dict[str, Any] = {}
        for key, obj in waiting.items():
            if details:
                found.append(f"{key}: {progress_of(obj).message}")
                continue
            # The first one is looked into; the others may only be waiting for it.
            troubles = self._evidence.troubles(obj, self._evidence.pods_of(obj))
            error = self._evidence.error(obj, next(iter(troubles), None))
            found.append(f"{key}: {error.found}")
            details = {"events": error.details["events"], "log": error.details["log"]}
        return KubeError(
            f"not ready within {self._timeout:g} s: {', '.join(map(str, waiting))}",
            reason="Timeout",
            expected="all objects being complete",
            found="; ".join(found),
            remedy="raise `wait_timeout` if it only needs longer, or correct what the evidence names",
            **details,
        )
