# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the tasks of a drill: sent, run, run twice, lost, and how soon they ran elsewhere."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget

__all__ = ["Account", "Event", "Kill", "account", "events_of", "holds", "problems"]


@dataclass(frozen=True)
class Event:
    """A task was ``started`` or had ``ended``, in a pod, at a Unix time of Redis' own clock."""

    task: str
    what: str
    pod: str
    at: float


@dataclass(frozen=True)
class Kill:
    """A pod whose worker was killed, and when by its node's clock."""

    pod: str
    at: float
    exit_code: int | None


@dataclass(frozen=True)
class Account:
    """Ids of tasks. ``twice`` were started more than once; ``excused`` of them ran in a worker that was killed.

    ``active`` holds for each kill, in order, what the victim ran, with the seconds until it was started again;
    None for what was not.
    """

    sent: int
    run: int
    twice: tuple[str, ...]
    excused: tuple[str, ...]
    lost: tuple[str, ...]
    active: tuple[Mapping[str, float | None], ...] = ()

    @property
    def slowest(self) -> float | None:
        """Seconds from a kill to the last start elsewhere; None where nothing was started again."""
        times = [seconds for one in self.active for seconds in one.values() if seconds is not None]
        return max(times) if times else None


def holds(count: int, shortest: float, longest: float, seed: str) -> list[float]:
    """How long each task takes, in seconds: as many short as long ones on a logarithmic scale, the same for a seed."""
    dice = random.Random(seed)  # noqa: S311 - spreads a load, hides nothing
    low, high = math.log(shortest), math.log(longest)
    return [round(math.exp(dice.uniform(low, high)), 2) for _number in range(count)]


def events_of(lines: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Events from the workers' records, in order. A worker's name is ``celery@<pod>|...``."""
    found = [
        Event(line["id"], line["what"], str(line["worker"]).partition("|")[0].partition("@")[2], float(line["at"]))
        for line in lines
    ]
    return sorted(found, key=lambda event: event.at)


def account(sent: Sequence[str], events: Sequence[Event], kills: Sequence[Kill] = ()) -> Account:
    """What became of each task that was sent."""
    starts: dict[str, list[Event]] = {task: [] for task in sent}
    ended: set[str] = set()
    for event in events:
        if event.what == "started" and event.task in starts:
            starts[event.task].append(event)
        elif event.what == "ended":
            ended.add(event.task)
    active = tuple(_active(kill, events, starts) for kill in kills)
    twice = tuple(task for task in sent if len(starts[task]) > 1)
    victims = {task for one in active for task in one}
    return Account(
        sent=len(sent),
        run=sum(task in ended for task in sent),
        twice=twice,
        excused=tuple(task for task in twice if task in victims),
        lost=tuple(task for task in sent if task not in ended),
        active=active,
    )


def _active(kill: Kill, events: Sequence[Event], starts: Mapping[str, list[Event]]) -> dict[str, float | None]:
    """What ran in the victim when it was killed: its newest event until then is a start there."""
    newest: dict[str, Event] = {}
    for event in events:
        if event.at <= kill.at and event.task in starts:
            newest[event.task] = event
    running = [event.task for event in newest.values() if event.what == "started" and event.pod == kill.pod]
    found: dict[str, float | None] = {}
    for task in running:
        again = [event.at - kill.at for event in starts[task] if event.at > kill.at]
        found[task] = round(again[0], 1) if again else None
    return found


def problems(found: Account, budget: Budget, kills: Sequence[Kill] = ()) -> list[str]:
    """Why the drill failed; nothing when it passed."""
    told = []
    if budget.lost is not None and len(found.lost) > budget.lost:
        told.append(f"{len(found.lost)} of {found.sent} tasks lost, {budget.lost} allowed: {_some(found.lost)}")
    unexcused = [task for task in found.twice if task not in found.excused]
    if budget.run_twice is not None and len(unexcused) > budget.run_twice:
        told.append(
            f"{len(unexcused)} tasks ran twice although no worker was killed under them, "
            f"{budget.run_twice} allowed: {_some(unexcused)}"
        )
    for kill, active in zip(kills, found.active, strict=True):
        if kill.exit_code != 137:
            told.append(f"worker {kill.pod} ended with {kill.exit_code} in place of 137: it was not killed")
        if not active:
            told.append(f"worker {kill.pod} ran no task when it was killed: the kill shows nothing")
        within = math.inf if budget.elsewhere is None else budget.elsewhere
        late = [task for task, seconds in active.items() if seconds is None or seconds > within]
        if late:
            told.append(
                f"{len(late)} tasks of worker {kill.pod} did not run elsewhere within {within:g} s: {_some(late)}"
            )
    return told


def _some(tasks: Sequence[str]) -> str:
    return ", ".join(tasks[:3]) + (f" and {len(tasks) - 3} more" if len(tasks) > 3 else "")
