# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills: a bounded load, a disturbance, and an account of every task."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Account, Kill, account, problems
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Ask, Load, Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round, summary
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import problems as problems_of_writes
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import timeline
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Course", "hold"]

Json = dict[str, Any]


class Course:
    """One kind of drill: what is disturbed, and how it is put back. ``kills`` and ``writes`` are filled on the way.

    ``enough``: seconds for which a task has to run on when the disturbance begins. ``writes``: what a client saw of a
    round, with that round's number, where one wrote to Redis or PostgreSQL.
    """

    enough = 0.0

    def __init__(self) -> None:
        self.kills: list[Kill] = []
        self.writes: list[tuple[int, Round]] = []

    def refuse(self) -> None:
        """Raises CeleryOpsError for what a drill must not touch."""

    def rounds(self, plan: Plan) -> int:
        return plan.repetitions

    def open(self) -> None:
        """Prepares what all rounds need."""

    def disturb(self, load: Load, number: int, busy: list[str]) -> Json:
        """One disturbance, until all is well again; what its round is told as."""
        raise NotImplementedError

    def put_back(self) -> None:
        """Leaves everything as before; whatever the drill did or did not do."""

    def budget(self, budget: Budget) -> Budget:
        """The limits that hold for what was found."""
        return budget


def hold(course: Course, ask: Ask, plan: Plan, result: Json) -> None:
    """Fills in ``result`` as it goes; raises CeleryOpsError when the budget is not kept."""
    course.refuse()
    load = Load(ask, plan)
    try:
        try:
            course.open()
            for number in range(course.rounds(plan)):
                busy = load.send(course.enough)
                load.disturbed()
                result["rounds"].append(course.disturb(load, number, busy))
                load.settled()
        except BaseException:
            # That something could not be put back as well must not hide why the drill failed.
            with contextlib.suppress(CeleryOpsError):
                course.put_back()
            raise
        course.put_back()
        found = account(list(load.sent), load.drain(), course.kills)
        _tell(found, course.kills, result)
        budget = course.budget(plan.budget)
        result.update(budget=budget.told())
        failed = problems(found, budget, course.kills)
        failed += problems_of_writes([one for _number, one in course.writes], budget)
    finally:
        # Of a drill that failed on the way as well: how far it came.
        so_far = account(list(load.sent), load.recorded(), course.kills)
        course_of_it = timeline(load.sent, load.events, course.kills, load.disturbances, course.writes)
        writes = summary([one for _number, one in course.writes])
        result.update(sent=so_far.sent, run=so_far.run, timeline=course_of_it, writes=writes)
        load.clear()
    result.update(passed=not failed, problems=failed)
    if failed:
        raise CeleryOpsError(
            f"drill {plan.name} failed",
            expected=", ".join(f"{name} at most {limit:g}" for name, limit in budget.told().items()),
            found="; ".join(failed),
            remedy="see rounds and the logs of what was disturbed at the time of each round",
        )


def _tell(found: Account, kills: Sequence[Kill], result: Json) -> None:
    result.update(
        run_twice=len(found.twice),
        run_twice_killed=len(found.excused),
        lost=len(found.lost),
        seconds_elsewhere=found.slowest,
    )
    for told, active in zip(result["rounds"] if kills else [], found.active, strict=False):
        told["active"] = len(active)
        told["seconds_elsewhere"] = max((each for each in active.values() if each is not None), default=None)
