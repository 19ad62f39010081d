# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of nodes while workers run tasks, and clients write to Redis and PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.engines import Bystanders, Hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Load, Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.nodes import chosen
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import FAILOVER, IN_PLACE, Engine
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Course

__all__ = ["NodeDrain", "NodeLoss"]

Json = dict[str, Any]


class Site(Protocol):
    """The cluster's nodes. See nodes.py."""

    @property
    def host(self) -> str: ...
    def all(self) -> list[Json]: ...
    def refuse(self, names: Sequence[str]) -> None: ...
    def drain(self, name: str) -> int: ...
    def uncordon(self, name: str) -> None: ...
    def put_back(self) -> None: ...
    def owners(self, name: str) -> list[Any]: ...
    def wait_whole(self, name: str, owners: Sequence[Any]) -> None: ...
    def cut(self, name: str, image: str, python: str, seconds: float) -> Json: ...


class _OfNodes(Course):
    """One node after the other, as often as asked."""

    loss = False

    def __init__(
        self, site: Site, wanted: Sequence[str], engines: Sequence[Engine], workers: Bystanders, hands: Hands
    ) -> None:
        super().__init__()
        self.site = site
        self.wanted = wanted
        self.engines = engines
        self.workers = workers
        self.hands = hands
        self.names: list[str] = []

    def refuse(self) -> None:
        self.names = chosen(self.site.all(), self.wanted, loss=self.loss, host=self.site.host)
        self.workers.refuse_ill()
        for engine in self.engines:
            engine.refuse()

    def rounds(self, plan: Plan) -> int:
        return plan.repetitions * len(self.names)

    def disturb(self, load: Load, number: int, busy: list[str]) -> Json:
        name = self.names[number % len(self.names)]
        owners = self.site.owners(name)
        told: Json = {"node": name}
        for engine in self.engines:
            # A client on the node itself would go with it.
            engine.open(avoid=name)
            engine.begin()
        load.struck()
        told |= self._act(name, load)
        self.site.wait_whole(name, owners)
        for engine in self.engines:
            one = engine.end(name)
            self.writes.append((number + 1, one))
            told[engine.name] = one.report()
            engine.close()
        self.workers.wait_settled()
        kinds = {one.kind for at, one in self.writes if at == number + 1}
        return {**told, "kind": FAILOVER if FAILOVER in kinds else IN_PLACE} if kinds else told

    def _act(self, name: str, load: Load) -> Json:
        raise NotImplementedError

    def put_back(self) -> None:
        try:
            self.site.put_back()
        finally:
            for engine in self.engines:
                engine.close()
            self.hands.close()


class NodeDrain(_OfNodes):
    def refuse(self) -> None:
        super().refuse()
        self.site.refuse(self.names)

    def _act(self, name: str, load: Load) -> Json:
        began = time.monotonic()
        try:
            evicted = self.site.drain(name)
            return {"evicted": evicted, "seconds": round(time.monotonic() - began, 1)}
        finally:
            self.site.uncordon(name)


class NodeLoss(_OfNodes):
    """``outage``: seconds for which a node is off."""

    loss = True

    def __init__(self, *given: Any, outage: float, image: str, python: str) -> None:
        super().__init__(*given)
        self.outage = outage
        self.image = image
        self.python = python

    def open(self) -> None:
        self.hands.prepare()

    def _act(self, name: str, load: Load) -> Json:
        told = self.site.cut(name, self.image, self.python, self.outage)
        load.struck(float(told["at"]))
        return {"devices": told["devices"], "seconds": round(float(told["ended"]) - float(told["at"]), 1)}

    def budget(self, budget: Budget) -> Budget:
        moved = any(one.engine == "redis" and one.kind == FAILOVER for _number, one in self.writes)
        commits = all(engine.waits() for engine in self.engines if engine.name == "postgresql")
        # With a master of Redis goes what it had not replicated, and where nobody waits for a replica, so do commits.
        return replace(
            budget,
            lost=None if moved else budget.lost,
            commits_lost=budget.commits_lost if commits else None,
        )
