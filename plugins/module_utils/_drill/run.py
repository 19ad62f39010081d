# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills: a bounded load, a disturbance, and an account of every task."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import (
    Account,
    Budget,
    Event,
    Kill,
    account,
    events_of,
    holds,
    problems,
)
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import Disturbance, timeline
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["DRILLS", "Load", "Plan", "Site", "drill"]

Json = dict[str, Any]
# Asks a worker: what to do, and further options. See inside.py.
Ask = Callable[[str, Mapping[str, Any]], Json]
ATTEMPTS = 3
# Seconds: that a victim's task must go on at least, and that one reading waits for the end of the tasks
MARGIN, DRAIN = 10.0, 60.0
# Rounds of tasks for each disturbance at most, where the workers are quicker than the drill
MOST_ROUNDS = 5


class Site(Protocol):
    """What is drilled. See workload.py."""

    replicas: int

    def pods(self) -> list[Json]: ...
    def refuse(self) -> None: ...
    def wait_settled(self) -> None: ...
    def kill(self, victim: Json, python: str) -> Kill: ...
    def roll(self, number: int, last: bool) -> None: ...
    def evict(self, victim: Json) -> None: ...
    def scale(self, replicas: int) -> None: ...
    def put_back(self) -> None: ...


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


# Disturbances: each returns what its round is told as.
def _worker_kill(site: Site, load: Load, number: int, kills: list[Kill], busy: list[str]) -> Json:
    """A different pod each time, one that runs tasks."""
    pods = {pod["metadata"]["name"]: pod for pod in site.pods()}
    chosen = [pods[name] for name in busy if name in pods]
    victim = chosen[number % len(chosen)]
    kill = site.kill(victim, load.plan.python)
    kills.append(kill)
    site.wait_settled()
    return {"victim": kill.pod, "node": victim["spec"]["nodeName"], "exit_code": kill.exit_code}


def _rolling_update(site: Site, load: Load, number: int, kills: list[Kill], busy: list[str]) -> Json:
    before = {pod["metadata"]["name"] for pod in site.pods()}
    # One alone would leave the mark behind.
    if load.plan.repetitions == 1:
        site.roll(number, last=False)
    site.roll(number, last=number == load.plan.repetitions - 1)
    return {"replaced": len(before - {pod["metadata"]["name"] for pod in site.pods()})}


def _eviction(site: Site, load: Load, number: int, kills: list[Kill], busy: list[str]) -> Json:
    pods = site.pods()
    victim = pods[number % len(pods)]
    site.evict(victim)
    return {"victim": victim["metadata"]["name"], "node": victim["spec"]["nodeName"]}


def _scale_in(site: Site, load: Load, number: int, kills: list[Kill], busy: list[str]) -> Json:
    before = {pod["metadata"]["name"] for pod in site.pods()}
    site.scale(site.replicas + 1)
    site.wait_settled()
    # The pods that were there have work already; the new one needs some before it goes, or another one does.
    load.send()
    site.scale(site.replicas)
    site.wait_settled()
    after = {pod["metadata"]["name"] for pod in site.pods()}
    return {"removed": sorted(before - after) or ["the newest"], "replicas": site.replicas}


DRILLS: dict[str, Callable[[Site, Load, int, list[Kill], list[str]], Json]] = {
    "worker_kill": _worker_kill,
    "rolling_update": _rolling_update,
    "eviction": _eviction,
    "scale_in": _scale_in,
}


def drill(site: Site, ask: Ask, plan: Plan, result: Json) -> None:
    """Fills in ``result`` as it goes; raises CeleryOpsError when the budget is not kept."""
    site.refuse()
    load = Load(ask, plan)
    kills: list[Kill] = []
    disturbances: list[Disturbance] = []
    # The kill itself takes a few seconds, a pod's start: what runs must last for longer.
    enough = min(MARGIN, plan.longest / 2) if plan.name == "worker_kill" else 0.0
    try:
        try:
            for number in range(plan.repetitions):
                busy = load.send(enough)
                disturbances.append(Disturbance(load.now()))
                result["rounds"].append(DRILLS[plan.name](site, load, number, kills, busy))
                disturbances[-1] = replace(disturbances[-1], settled=load.now())
        finally:
            site.put_back()
        found = account(list(load.sent), load.drain(), kills)
        _tell(found, kills, result)
        failed = problems(found, plan.budget, kills)
    finally:
        # Of a drill that failed on the way as well: how far it came.
        so_far = account(list(load.sent), load.recorded(), kills)
        course = timeline(load.sent, load.events, kills, disturbances)
        result.update(sent=so_far.sent, run=so_far.run, timeline=course)
        load.clear()
    result.update(passed=not failed, problems=failed)
    if failed:
        raise CeleryOpsError(
            f"drill {plan.name} failed",
            expected=f"at most {plan.budget.lost} lost and {plan.budget.run_twice} run twice",
            found="; ".join(failed),
            remedy="see rounds and the workers' logs at the time of each round",
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
