# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Deployment of workers: disturbed, watched until it is well again, and left as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import is_ready
from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Kill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.evict import evicted
from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import MANAGER, Hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.waiting import wait_until
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.resources import ObjectRef

__all__ = ["MARK", "Workload", "settled"]

Json = dict[str, Any]
# The annotation of the pods' template by which a rolling update is made
MARK = "celeryops.platform/drill"
# Seconds between two looks
PAUSE = 1.0


def settled(deployment: Json, pods: list[Json]) -> bool:
    """Every pod is of the newest template and ready, and none is leaving."""
    wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status", {})
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) == wanted
        and len(pods) == wanted
        and all(is_ready(pod) for pod in pods)
    )


class Workload:
    """``timeout``: seconds for the Deployment to be well again after a disturbance. ``python``: that of its image."""

    def __init__(self, api: Api, namespace: str, name: str, timeout: float, python: str) -> None:
        self.api = api
        self.ref = ObjectRef("apps/v1", "Deployment", name, namespace)
        self.timeout = timeout
        self.first = self.look()
        self.replicas = int(self.first["spec"].get("replicas", 1))
        template = self.first["spec"]["template"]["spec"]
        self.image = str(template["containers"][0]["image"])
        self.pull_secrets: list[Json] = template.get("imagePullSecrets") or []
        self.hands = Hands(api, self.image, python, timeout)

    def look(self) -> Json:
        found = self.api.get(self.ref)
        if found is None:
            raise CeleryOpsError(
                "there are no workers to drill",
                expected=str(self.ref),
                found="nothing",
                remedy="name the workers' Deployment and its namespace",
            )
        return found

    def pods(self) -> list[Json]:
        """Its pods, leaving ones included, in the order of their names."""
        labels = ",".join(f"{key}={value}" for key, value in self.first["spec"]["selector"]["matchLabels"].items())
        return sorted(
            self.api.list("v1", "Pod", self.ref.namespace, label_selector=labels),
            key=lambda pod: str(pod["metadata"]["name"]),
        )

    def refuse(self) -> None:
        """Raises CeleryOpsError for a Deployment that a drill must not touch: not well, or somebody else scales it."""
        self.refuse_ill()
        self._refuse_scaled()

    def refuse_ill(self) -> None:
        if not settled(self.first, self.pods()):
            raise CeleryOpsError(
                f"{self.ref} is not well",
                expected=f"{self.replicas} ready pods",
                found=f"{sum(map(is_ready, self.pods()))} ready of {len(self.pods())}",
                remedy="a drill of a platform that is ill shows nothing: run celery_doctor first",
            )

    def _refuse_scaled(self) -> None:
        for scaler in self.api.list("autoscaling/v2", "HorizontalPodAutoscaler", self.ref.namespace):
            target = scaler["spec"]["scaleTargetRef"]
            if (target["kind"], target["name"]) == (self.ref.kind, self.ref.name):
                raise CeleryOpsError(
                    f"{self.ref} is scaled by somebody else",
                    expected="a number of replicas that only the drill changes",
                    found=f"HorizontalPodAutoscaler {scaler['metadata']['name']}",
                    remedy="drill another pool, or scale this one by hand for the time of the drill",
                )

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        def late() -> CeleryOpsError:
            return CeleryOpsError(
                f"{self.ref}: {what} did not come",
                expected=f"{what} within {self.timeout:g} s",
                found=", ".join(f"{pod['metadata']['name']} ready={is_ready(pod)}" for pod in self.pods()),
                remedy="kubectl describe the pods, or raise timeout",
            )

        wait_until(ready, self.timeout, late, PAUSE)

    def wait_settled(self) -> None:
        self.wait(lambda: settled(self.look(), self.pods()), "the end of the disturbance")

    # Disturbances
    def kill(self, victim: Json) -> Kill:
        """SIGKILL from the node; the pod is replaced afterwards, so that no restart is left to be waited for."""
        name, restarts = victim["metadata"]["name"], _restarts(victim)
        ref = ObjectRef("v1", "Pod", name, self.ref.namespace)
        at = self.hands.kill(victim)
        codes: list[int | None] = []

        def ended() -> bool:
            pod = self.api.get(ref)
            if pod is None:
                codes.append(None)
            elif _restarts(pod) > restarts or _state(pod, "state"):
                codes.append((_state(pod, "state") or _state(pod, "lastState") or {}).get("exitCode"))
            return bool(codes)

        self.wait(ended, f"the end of worker {name}")
        self.api.delete(ref, uid=victim["metadata"]["uid"])
        return Kill(name, at, codes[0])

    def roll(self, number: int, last: bool) -> None:
        """A rolling update; the last one takes the mark away again."""
        template = {"metadata": {"annotations": {MARK: None if last else str(number)}}}
        self.api.patch(self.ref, {"spec": {"template": template}}, field_manager=MANAGER)
        self.wait_settled()

    def evict(self, victim: Json) -> None:
        """As a drain of its node does it; a disruption budget may let it wait."""
        self.wait(lambda: evicted(self.api, victim), f"the eviction of worker {victim['metadata']['name']}")
        self.wait_settled()

    def scale(self, replicas: int) -> None:
        self.api.patch(self.ref, {"spec": {"replicas": replicas}}, field_manager=MANAGER)

    # The end
    def put_back(self) -> None:
        """The replicas and the template of before; whatever the drill did or did not do."""
        now = self.look()
        if now["spec"].get("replicas", 1) != self.replicas:
            self.scale(self.replicas)
        if MARK in (now["spec"]["template"]["metadata"].get("annotations") or {}):
            self.roll(0, last=True)
        self._disown()
        self.hands.close()

    def _disown(self) -> None:
        """Whoever applies the Deployment next must meet no field that seems to be somebody else's."""
        meta = self.look()["metadata"]
        kept = [entry for entry in meta.get("managedFields", []) if entry["manager"] != MANAGER]
        if len(kept) < len(meta.get("managedFields", [])):
            body = {"metadata": {"managedFields": kept, "resourceVersion": meta["resourceVersion"]}}
            self.api.patch(self.ref, body, field_manager=MANAGER)


def _restarts(pod: Json) -> int:
    return sum(int(status["restartCount"]) for status in pod["status"].get("containerStatuses") or [])


def _state(pod: Json, field: str) -> Json | None:
    statuses = pod["status"].get("containerStatuses") or []
    found: Json | None = (statuses[0].get(field) or {}).get("terminated") if statuses else None
    return found
