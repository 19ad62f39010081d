# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command in a pod of its own: created, waited for, read, and deleted again."""

from __future__ import annotations

import copy
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .client import Api
from .errors import KubeError, NoAnswerError
from .pods import trouble_of
from .resources import Json, ObjectRef

__all__ = ["PodRun", "run_pod"]

# Longer than the scheduler and the kubelet need for anything that sorts itself out.
_PATIENCE = 20.0
_GONE = 410


@dataclass(frozen=True, slots=True)
class PodRun:
    """How the pod ended: phase (Succeeded, Failed), and its first container's exit code and log."""

    phase: str
    exit_code: int
    log: str


def run_pod(api: Api, pod_manifest: Mapping[str, Any], *, timeout: float) -> PodRun:
    """Runs a pod to its end, which is no error whatever its exit code.

    `metadata.name` is the beginning of the pod's name; a random end is added. The pod is deleted in every
    case, and the cluster itself ends it after `timeout` seconds should this process not live to do so. Raises
    KubeError when the pod is refused, cannot start, or does not end in time.
    """
    pod = copy.deepcopy(dict(pod_manifest))
    pod["metadata"]["name"] = f"{pod['metadata']['name'][:50]}-{secrets.token_hex(3)}"
    pod["spec"] = {"restartPolicy": "Never", "activeDeadlineSeconds": math.ceil(timeout), **pod["spec"]}
    deadline = time.monotonic() + timeout
    made = api.create(pod)
    try:
        ended = _end_of(api, made, deadline, timeout)
        return _result(api, ended)
    finally:
        api.delete(ObjectRef.of(made), grace_seconds=0, uid=made["metadata"]["uid"])


def _name(pod: Mapping[str, Any]) -> str:
    return f"Pod {pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _end_of(api: Api, made: Json, deadline: float, timeout: float) -> Json:
    """Watches the pod until it has ended."""
    pod, meta = made, made["metadata"]
    selector = f"metadata.name={meta['name']}"
    version = str(meta["resourceVersion"])
    troubled_since: float | None = None
    while (left := deadline - time.monotonic()) > 0:
        # A short watch, so that trouble which brings no further event is noticed when its patience ends.
        span = min(left, _PATIENCE / 4) if troubled_since else left
        try:
            events = api.watch(
                "v1",
                "Pod",
                meta["namespace"],
                field_selector=selector,
                resource_version=version,
                timeout=span,
            )
            for kind, seen in events:
                pod = seen
                version = str(pod["metadata"]["resourceVersion"])
                if kind == "DELETED":
                    raise _deleted(pod)
                if _is_over(pod):
                    return pod
                trouble = trouble_of(pod)
                if trouble and trouble.lasting:
                    raise _refusal(pod, str(trouble))
                troubled_since = (troubled_since or time.monotonic()) if trouble else None
                if troubled_since:
                    break
        except NoAnswerError:
            # One of several servers behind one address was lost, perhaps: the next request may reach another one. It is
            # repeated for as long as any other request, and raises when nobody answers.
            if api.get(ObjectRef.of(made)) is None:
                raise _deleted(pod) from None
            version = ""
        except KubeError as error:
            if error.status != _GONE:
                raise
            version = ""
        trouble = trouble_of(pod)
        if trouble and troubled_since and time.monotonic() - troubled_since > _PATIENCE:
            raise _refusal(pod, str(trouble))
    raise KubeError(
        f"{_name(pod)} did not end",
        expected=f"an end within {timeout:g} s",
        found=str(trouble_of(pod) or f"phase {pod['status'].get('phase')}"),
        remedy="raise the timeout if the work takes longer, or look for what it waits for",
    )


def _deleted(pod: Json) -> KubeError:
    return KubeError(f"{_name(pod)} was deleted before it ended", remedy="run again")


def _is_over(pod: Json) -> bool:
    """Whether the outcome is known. A lone container that ended well is one: the phase follows a second later."""
    status = pod["status"]
    states = [(entry.get("state") or {}).get("terminated") for entry in status.get("containerStatuses") or []]
    alone = len(pod["spec"]["containers"]) == 1 and pod["spec"].get("restartPolicy") == "Never"
    return status.get("phase") in ("Succeeded", "Failed") or (
        alone and [state and state["exitCode"] for state in states] == [0]
    )


def _refusal(pod: Json, found: str) -> KubeError:
    return KubeError(
        f"{_name(pod)} does not start",
        expected="a pod that is scheduled and whose image is there",
        found=found,
        remedy="correct what the message names; an image is imported on the nodes, or its name corrected",
    )


def _result(api: Api, pod: Json) -> PodRun:
    meta, status = pod["metadata"], pod["status"]
    name = pod["spec"]["containers"][0]["name"]
    states = {entry["name"]: entry.get("state") or {} for entry in status.get("containerStatuses") or []}
    ended = states.get(name, {}).get("terminated")
    if not ended or status.get("reason") == "DeadlineExceeded":
        raise KubeError(
            f"{_name(pod)} was ended from outside",
            expected=f"container {name} to end by itself",
            found=f"{status.get('reason') or status.get('phase')}: {status.get('message') or 'no message'}",
            remedy="raise the timeout if that was the reason, or free resources on the node",
        )
    log = api.pod_log(meta["namespace"], meta["name"], name)
    phase = status["phase"] if status["phase"] in ("Succeeded", "Failed") else "Succeeded"
    return PodRun(phase, int(ended["exitCode"]), log)
