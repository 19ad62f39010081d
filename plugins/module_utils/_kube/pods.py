# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod's status says about why it does not run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Trouble", "trouble_of"]

# These do not go away by waiting.
_IMAGE = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError")
# These go away when somebody creates or frees what is missing, so they count only when they last.
_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
# A container that waits for others may well end once or twice before they are up.
_EXITS = 3


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a pod does not run. `lasting`: it will not heal by itself; otherwise only when it persists.

    `container` is set when its log may tell more; `previous` when the log of the run before does.
    """

    pod: str
    reason: str
    message: str
    lasting: bool
    container: str | None = None
    previous: bool = False

    def passing(self) -> Trouble:
        """The same trouble where it may still go away."""
        return replace(self, lasting=False)

    def __str__(self) -> str:
        where = f"Pod {self.pod}" + (f", container {self.container}" if self.container else "")
        return f"{where}: {self.reason}: {self.message}"


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _ended(state: Mapping[str, Any]) -> str:
    said = (state.get("message") or "").strip()
    return f"exit code {state.get('exitCode')} ({state.get('reason', '')})" + (f": {said}" if said else "")


def trouble_of(pod: Mapping[str, Any]) -> Trouble | None:
    """The first thing that keeps the pod from running, or None."""
    name = str(pod["metadata"]["name"])
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return Trouble(name, "Unschedulable", str(condition.get("message") or ""), lasting=False)
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = str(waiting.get("reason") or "")
        message = str(waiting.get("message") or "")
        last = (container.get("lastState") or {}).get("terminated") or {}
        if reason in _IMAGE:
            return Trouble(name, reason, message, lasting=True, container=str(container["name"]))
        if reason in _CONFIG:
            return Trouble(name, reason, message, lasting=False, container=str(container["name"]))
        if reason == "CrashLoopBackOff" and int(container.get("restartCount") or 0) >= _EXITS:
            text = f"it has ended {container['restartCount']} times, last with {_ended(last)}"
            return Trouble(name, reason, text, lasting=True, container=str(container["name"]), previous=True)
    if status.get("phase") == "Failed" and status.get("reason"):
        return Trouble(name, str(status["reason"]), str(status.get("message") or ""), lasting=True)
    return None
