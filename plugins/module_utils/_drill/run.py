# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills: a bounded load, a disturbance, and an account of every task."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["DRILLS", "Load", "Plan", "Site", "drill"]

Json = dict[str, Any]
# Asks a worker: what to do, and further options. See inside.py.
Ask = Callable[[str, Mapping[str, Any]], Json]
PAUSE = 1.0
ATTEMPTS = 3
# Seconds
MARGIN = 10.0
# Rounds of tasks for each repetition, where the workers are quicker than the drill
MOST_ROUNDS = 5


class Site(Protocol):
    """What is drilled. See workload.py."""

    replicas: int

    def pods(self) -> list[Json]: ...
    def refuse(self) -> None: ...
    def wait(self, ready: Callable[[], bool], what: str) -> None: ...
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
        self.sent: list[str] = []
        self.lengths: dict[str, float] = {}
        self.rounds = 0

    def send(self) -> None:
        """One round of tasks, of every length."""
        plan, self.rounds = self.plan, self.rounds + 1
        lengths = holds(plan.tasks, plan.shortest, plan.longest, f"{plan.name} {self.rounds}")
        where = {"task": plan.task, "queue": plan.queue, "argument": plan.argument}
        answer = self.ask("send", {"run": self.run, "holds": lengths, **where})
        self.sent += answer["sent"]
        self.lengths.update(zip(answer["sent"], lengths, strict=True))
        if not answer["workers"]:
            raise CeleryOpsError(
                "no worker keeps records",
                expected="workers with a lease, which record what they start and end",
                found="none in Redis",
                remedy="set celery_worker_lease above 0 and apply the workers again",
            )

    def events(self) -> list[Event]:
        """Everything that the workers recorded; asked again where the worker that was asked is gone."""
        for _ in range(ATTEMPTS - 1):
            try:
                return events_of(self.ask("read", {"run": self.run})["lines"])
            except CeleryOpsError:
                time.sleep(PAUSE)
        return events_of(self.ask("read", {"run": self.run})["lines"])

    def busy(self) -> dict[str, float]:
        """Pod: for how many seconds it will run one of the tasks at least, by the newest record of each."""
        newest = {event.task: event for event in self.events()}
        now = max((event.at for event in newest.values()), default=0.0)
        found: dict[str, float] = {}
        for event in newest.values():
            if event.what == "started":
                left = event.at + self.lengths.get(event.task, 0.0) - now
                found[event.pod] = max(left, found.get(event.pod, 0.0))
        return found

    def find_busy(self, enough: float = 0.0) -> dict[str, float]:
        """As :meth:`busy`, of pods that will be for more than ``enough`` seconds; sends more where all is done."""
        found = {pod: left for pod, left in self.busy().items() if left > enough}
        if not found and self.done():
            if self.rounds >= MOST_ROUNDS * self.plan.repetitions:
                raise CeleryOpsError(
                    "the tasks are over before anything can be disturbed",
                    expected=f"a task that runs for {enough:g} s more",
                    found=f"{len(self.sent)} tasks that have ended",
                    remedy="raise tasks or longest, and see that argument names what makes the task last",
                )
            self.send()
        return found

    def done(self) -> bool:
        return {event.task for event in self.events() if event.what == "ended"} >= set(self.sent)

    def drain(self) -> None:
        """Returns when every task has ended, or when the time is over: what is missing then is lost."""
        end = time.monotonic() + self.plan.drain
        while not self.done() and time.monotonic() < end:
            time.sleep(PAUSE)

    def clear(self) -> None:
        self.ask("clear", {"run": self.run})


# Disturbances: each returns what its round is told as.
def _worker_kill(site: Site, load: Load, number: int, kills: list[Kill]) -> Json:
    """A different pod each time, one that runs tasks."""
    chosen: list[Json] = []
    # The kill itself takes a few seconds, a pod's start: what runs must last for longer.
    enough = min(MARGIN, load.plan.longest / 2)

    def busy() -> bool:
        left = load.find_busy(enough)
        chosen[:] = [pod for pod in site.pods() if pod["metadata"]["name"] in left]
        return len(chosen) > 0

    site.wait(busy, "a worker with a task that takes long enough")
    victim = chosen[number % len(chosen)]
    kill = site.kill(victim, load.plan.python)
    kills.append(kill)
    site.wait_settled()
    return {"victim": kill.pod, "node": victim["spec"]["nodeName"], "exit_code": kill.exit_code}


def _rolling_update(site: Site, load: Load, number: int, kills: list[Kill]) -> Json:
    before = {pod["metadata"]["name"] for pod in site.pods()}
    # One alone would leave the mark behind.
    if load.plan.repetitions == 1:
        site.roll(number, last=False)
    site.roll(number, last=number == load.plan.repetitions - 1)
    return {"replaced": len(before - {pod["metadata"]["name"] for pod in site.pods()})}


def _eviction(site: Site, load: Load, number: int, kills: list[Kill]) -> Json:
    pods = site.pods()
    victim = pods[number % len(pods)]
    site.evict(victim)
    return {"victim": victim["metadata"]["name"], "node": victim["spec"]["nodeName"]}


def _scale_in(site: Site, load: Load, number: int, kills: list[Kill]) -> Json:
    before = {pod["metadata"]["name"] for pod in site.pods()}
    site.scale(site.replicas + 1)
    site.wait_settled()
    # The pods that were there have work already; the new one needs some before it goes, or another one does.
    load.send()
    site.scale(site.replicas)
    site.wait_settled()
    after = {pod["metadata"]["name"] for pod in site.pods()}
    return {"removed": sorted(before - after) or ["the newest"], "replicas": site.replicas}


DRILLS: dict[str, Callable[[Site, Load, int, list[Kill]], Json]] = {
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
    try:
        try:
            for number in range(plan.repetitions):
                load.send()
                site.wait(lambda: len(load.find_busy()) > 0, "a task that runs")
                result["rounds"].append(DRILLS[plan.name](site, load, number, kills))
        finally:
            site.put_back()
        load.drain()
        found = account(load.sent, load.events(), kills)
        _tell(found, kills, result)
        failed = problems(found, plan.budget, kills)
    finally:
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
        sent=found.sent,
        run=found.run,
        run_twice=len(found.twice),
        run_twice_killed=len(found.excused),
        lost=len(found.lost),
        seconds_elsewhere=found.slowest,
    )
    for told, active in zip(result["rounds"] if kills else [], found.active, strict=False):
        told["active"] = len(active)
        told["seconds_elsewhere"] = max((each for each in active.values() if each is not None), default=None)
