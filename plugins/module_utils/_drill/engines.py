# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of Redis and PostgreSQL while workers run tasks: for how long a client could not write, and what was lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Load
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Engine, strike
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Course

__all__ = ["Bystanders", "Engines"]

Json = dict[str, Any]


class Bystanders(Protocol):
    """The workers, who are not disturbed themselves. See workload.py."""

    def refuse_ill(self) -> None: ...
    def wait_settled(self) -> None: ...


class Hands(Protocol):
    """Who acts on nodes. See hands.py."""

    def prepare(self) -> None: ...
    def close(self) -> None: ...


class Engines(Course):
    """One kind of failure of one engine."""

    def __init__(self, kind: str, engine: Engine, workers: Bystanders, hands: Hands) -> None:
        super().__init__()
        self.kind = kind
        self.engine = engine
        self.workers = workers
        self.hands = hands

    def refuse(self) -> None:
        self.workers.refuse_ill()
        self.engine.refuse()

    def open(self) -> None:
        self.engine.open()

    def disturb(self, load: Load, number: int, busy: list[str]) -> Json:
        one = strike(self.engine, self.kind, load.struck)
        self.writes.append((number + 1, one))
        self.workers.wait_settled()
        return one.report()

    def put_back(self) -> None:
        try:
            self.engine.close()
        finally:
            self.hands.close()

    def budget(self, budget: Budget) -> Budget:
        # Where nobody waits for a replica, what was on one server only may be lost: that is told, and no fault.
        return budget if self.engine.waits() else replace(budget, commits_lost=None)
