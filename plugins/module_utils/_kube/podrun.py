# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one short-lived Pod to its end and returns its log."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

__all__ = ["PodRun", "run_pod"]

# Waiting reasons that time does not heal. ImagePullBackOff covers ErrImagePull, which comes before it.
HOPELESS = {"ErrImageNeverPull", "InvalidImageName", "ImagePullBackOff", "CreateContainerConfigError"}


@dataclass(frozen=True)
class PodRun:
    """How a Pod ended: phase ``Succeeded`` or ``Failed``, its first container's exit code and log."""

    phase: str
    exit_code: int | None
    log: str


def run_pod(api: Api, pod: dict[str, Any], *, timeout: float) -> PodRun:
    """Creates the Pod under a name of its own, waits ``timeout`` seconds at most, and deletes it always.

    ``pod`` is a manifest; its ``metadata.name`` becomes the prefix of the name. A container that ends
    with a status other than 0 is a result. Raises :class:`KubeError` when the Pod is refused, cannot be
    scheduled, cannot get its image, or does not end in time.
    """
    manifest = copy.deepcopy(pod)
    metadata = manifest["metadata"]
    metadata["generateName"] = metadata.pop("name") + "-"
    manifest["spec"] |= {
        "restartPolicy": "Never",
        # Ends the Pod even where this process is killed before it can delete it.
        "activeDeadlineSeconds": int(timeout) + 10,
    }
    created = api.create(manifest)
    ref = ObjectRef.of(created)
    try:
        ended = _wait(api, ref, created, time.monotonic() + timeout)
        status = (ended["status"].get("containerStatuses") or [{}])[0]
        terminated = (status.get("state") or {}).get("terminated") or {}
        log = api.pod_log(str(ref.namespace), ref.name)
        return PodRun(ended["status"]["phase"], terminated.get("exitCode"), log)
    finally:
        api.delete(ref, grace_seconds=0)


def _wait(api: Api, ref: ObjectRef, pod: dict[str, Any], deadline: float) -> dict[str, Any]:
    path = api.path("v1", "Pod", ref.namespace)
    while True:
        _raise_if_hopeless(ref, pod)
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            return pod
        left = deadline - time.monotonic()
        if left <= 0:
            raise KubeError(
                f"{ref} has not ended",
                expected="its end in time",
                found=f"phase {pod.get('status', {}).get('phase')}: {_waiting(pod) or 'running'}",
                remedy="Look at the namespace's events; give the call more time if the Pod was only late.",
            )
        query = {
            "fieldSelector": f"metadata.name={ref.name}",
            "resourceVersion": pod["metadata"]["resourceVersion"],
        }
        for kind, seen in api.watch(path, query, left):
            if kind == "DELETED":
                raise KubeError(f"{ref} was deleted by somebody else before it ended")
            if kind == "ERROR":
                # The resource version is too old: read the Pod again and go on from there.
                pod = api.get(ref) or pod
                break
            pod = {**seen, "apiVersion": "v1", "kind": "Pod"}
            _raise_if_hopeless(ref, pod)
            if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                return pod


def _raise_if_hopeless(ref: ObjectRef, pod: dict[str, Any]) -> None:
    status = pod.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            raise KubeError(
                f"{ref} cannot be scheduled",
                expected="a node with room for it",
                found=condition.get("message", ""),
                remedy="Free room on the nodes, add one, or lower the requests.",
            )
    waiting = _waiting(pod)
    if waiting and waiting.split(":")[0] in HOPELESS:
        raise KubeError(
            f"{ref} cannot start",
            expected="its image and its configuration",
            found=waiting,
            remedy="Import or push the image, or create the Secret or ConfigMap that is named.",
        )


def _waiting(pod: dict[str, Any]) -> str:
    status = pod.get("status") or {}
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (one.get("state") or {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason')}: {waiting.get('message', '')}"
    return ""
