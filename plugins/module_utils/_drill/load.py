# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of a drill: tasks of every length, and what the workers recorded of them."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Event, events_of, holds
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import Disturbance
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Ask", "Load", "Plan"]

Json = dict[str, Any]
# Asks a worker: what to do, and further options. See inside.py.
Ask = Callable[[str, Mapping[str, Any]], Json]
ATTEMPTS = 3
# Seconds that one reading waits for the end of the tasks
DRAIN = 60.0
# Rounds of tasks for each disturbance at most, where the workers are quicker than the drill
MOST_ROUNDS = 5


@dataclass(frozen=True)
class Plan:
    """What is done. ``drain``: seconds for every task to end after the last disturbance."""

    name: str
    repetitions: int
    tasks: int
    task: str
    argument: str = "hold"
    queue: str = ""
    shortest: float = 0.1
    longest: float = 30.0
    drain: float = 300.0
    python: str = "python"
    budget: Budget = field(default_factory=Budget)


class Load:
    """The tasks of one drill, and what the workers recorded of them."""

    def __init__(self, ask: Ask, plan: Plan) -> None:
        self.ask = ask
        self.plan = plan
        self.run = f"{plan.name}-{secrets.token_hex(4)}"
        # Each task with the time at which it was sent
        self.sent: dict[str, float] = {}
        self.events: list[Event] = []
        self.rounds = 0
        self.disturbances: list[Disturbance] = []
        # From this machine's steady clock to Redis', which all records are by
        self.ahead = 0.0

    def send(self, enough: float = 0.0) -> list[str]:
        """Send tasks of every length; the pods that will run one of them for more than ``enough`` seconds."""
        plan = self.plan
        rounds = [
            holds(plan.tasks, plan.shortest, plan.longest, f"{plan.name} {self.rounds + number}")
            for number in range(MOST_ROUNDS)
        ]
        self.rounds += MOST_ROUNDS
        where = {"task": plan.task, "queue": plan.queue, "argument": plan.argument}
        answer = self.ask("send", {"run": self.run, "rounds": rounds, "enough": enough, **where})
        self.sent |= {task: at for task, _seconds, at in answer["sent"]}
        if not answer["workers"]:
            raise CeleryOpsError(
                "no worker keeps records",
                expected="workers with a lease, which record what they start and end",
                found="none in Redis",
                remedy="set celery_worker_lease above 0 and apply the workers again",
            )
        self.ahead = answer["now"] - time.monotonic()
        if not answer["busy"]:
            raise CeleryOpsError(
                "the tasks are over before anything can be disturbed",
                expected=f"a task that runs for {enough:g} s more",
                found=f"{len(self.sent)} tasks that have ended",
                remedy="raise tasks or longest, and see that argument names what makes the task last",
            )
        return sorted(answer["busy"])

    def now(self) -> float:
        """The time by Redis' clock, less what its answer took to arrive."""
        return time.monotonic() + self.ahead

    def disturbed(self) -> None:
        """A disturbance begins."""
        self.disturbances.append(Disturbance(self.now()))

    def struck(self, at: float | None = None) -> None:
        """It began only then, by default now: what came before was its preparation."""
        self.disturbances[-1] = Disturbance(self.now() if at is None else at)

    def settled(self) -> None:
        self.disturbances[-1] = replace(self.disturbances[-1], settled=self.now())

    def read(self, wait: float) -> list[Event]:
        """Everything recorded, when every task has ended or after ``wait`` seconds."""
        self.events = events_of(self.ask("read", {"run": self.run, "count": len(self.sent), "wait": wait})["lines"])
        return self.events

    def drain(self) -> list[Event]:
        """Everything recorded, when every task has ended or the time is over: what is missing then is lost."""
        end, failures = time.monotonic() + self.plan.drain, 0
        while True:
            wait = max(0.0, min(DRAIN, end - time.monotonic()))
            try:
                events = self.read(wait)
            except CeleryOpsError:
                # The worker that was asked may have been the next to leave.
                failures += 1
                if failures >= ATTEMPTS:
                    raise
                continue
            done = {event.task for event in events if event.what == "ended"}
            if done >= set(self.sent) or time.monotonic() >= end:
                return events

    def recorded(self) -> list[Event]:
        """What was read last; of a drill that failed before that, what is there now; nothing where nobody answers."""
        if self.sent and not self.events:
            with contextlib.suppress(CeleryOpsError):
                self.read(0.0)
        return self.events

    def clear(self) -> None:
        # What is left expires; that nobody answers must not hide why the drill failed.
        with contextlib.suppress(CeleryOpsError):
            self.ask("clear", {"run": self.run})
