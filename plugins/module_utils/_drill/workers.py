# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of the workers themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Kill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Load, Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Course

__all__ = ["DRILLS", "Site", "Workers"]

Json = dict[str, Any]
# Seconds that a victim's task must go on at least: the kill itself takes a few, a pod's start
MARGIN = 10.0


class Site(Protocol):
    """The Deployment that is drilled. See workload.py."""

    replicas: int

    def pods(self) -> list[Json]: ...
    def refuse(self) -> None: ...
    def wait_settled(self) -> None: ...
    def kill(self, victim: Json) -> Kill: ...
    def roll(self, number: int, last: bool) -> None: ...
    def evict(self, victim: Json) -> None: ...
    def scale(self, replicas: int) -> None: ...
    def put_back(self) -> None: ...


class Workers(Course):
    def __init__(self, site: Site, plan: Plan) -> None:
        super().__init__()
        self.site = site
        self.plan = plan
        self.enough = min(MARGIN, plan.longest / 2) if plan.name == "worker_kill" else 0.0

    def refuse(self) -> None:
        self.site.refuse()

    def disturb(self, load: Load, number: int, busy: list[str]) -> Json:
        return DRILLS[self.plan.name](self, load, number, busy)

    def put_back(self) -> None:
        self.site.put_back()

    def _kill(self, load: Load, number: int, busy: list[str]) -> Json:
        """A different pod each time, one that runs tasks."""
        pods = {pod["metadata"]["name"]: pod for pod in self.site.pods()}
        chosen = [pods[name] for name in busy if name in pods]
        victim = chosen[number % len(chosen)]
        kill = self.site.kill(victim)
        self.kills.append(kill)
        self.site.wait_settled()
        return {"victim": kill.pod, "node": victim["spec"]["nodeName"], "exit_code": kill.exit_code}

    def _rolling_update(self, load: Load, number: int, busy: list[str]) -> Json:
        before = self._names()
        # One alone would leave the mark behind.
        if self.plan.repetitions == 1:
            self.site.roll(number, last=False)
        self.site.roll(number, last=number == self.plan.repetitions - 1)
        return {"replaced": len(before - self._names())}

    def _eviction(self, load: Load, number: int, busy: list[str]) -> Json:
        pods = self.site.pods()
        victim = pods[number % len(pods)]
        self.site.evict(victim)
        return {"victim": victim["metadata"]["name"], "node": victim["spec"]["nodeName"]}

    def _scale_in(self, load: Load, number: int, busy: list[str]) -> Json:
        before = self._names()
        self.site.scale(self.site.replicas + 1)
        self.site.wait_settled()
        # The pods that were there have work already; the new one needs some before it goes, or another one does.
        load.send()
        self.site.scale(self.site.replicas)
        self.site.wait_settled()
        return {"removed": sorted(before - self._names()) or ["the newest"], "replicas": self.site.replicas}

    def _names(self) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.site.pods()}


DRILLS: dict[str, Callable[[Workers, Load, int, list[str]], Json]] = {
    "worker_kill": Workers._kill,
    "rolling_update": Workers._rolling_update,
    "eviction": Workers._eviction,
    "scale_in": Workers._scale_in,
}
