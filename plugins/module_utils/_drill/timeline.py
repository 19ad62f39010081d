# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a drill: how many tasks were sent, had run, and waited, from the same records as its account."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Event, Kill, account
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round

__all__ = ["Disturbance", "nothing", "timeline"]

Json = dict[str, Any]
# Seconds between two samples at least, and samples at most: a result is handed on and kept.
STEP, MOST = 0.1, 500


@dataclass(frozen=True)
class Disturbance:
    """When it began and when all was well again, by Redis' clock; None when it never was."""

    began: float
    settled: float | None = None


def nothing() -> Json:
    """The timeline of a drill that sent no task."""
    return {"begin": None, "samples": [], "marks": [], "gaps": []}


def timeline(
    sent: Mapping[str, float],
    events: Sequence[Event],
    kills: Sequence[Kill],
    disturbances: Sequence[Disturbance],
    writes: Sequence[tuple[int, Round]] = (),
) -> Json:
    """``sent``: when each task was sent. All times are Unix times; what is returned counts from the first task.

    A sample holds what had happened until then. A task waits that nobody runs: nobody has started it yet, or the worker
    that ran it was killed. Where workers were killed, the kills are the marks, each with the last start elsewhere of
    what its victim ran; else the disturbances, each with the moment from which all was well again. In the gaps writes
    to Redis or PostgreSQL were not acknowledged, by the clock of the client that made them.
    """
    if not sent:
        return nothing()
    active = account(list(sent), events, kills).active
    begin = min(sent.values())
    changes = sorted(_changes(sent, events, kills, active), key=lambda change: change[0])
    step = max(STEP, (changes[-1][0] - begin) / MOST)
    states: dict[str, str] = {}
    counts: Counter[str] = Counter()
    samples: dict[float, Json] = {}
    for at, what, task in changes:
        before = states.get(task)
        # A task that has run stays so, even where it is started once more.
        if before != "ended":
            counts[before or ""] -= 1
            counts[what] += 1
            states[task] = what
        # What is less than a step apart is one sample; a hair less, lest a whole step is taken for more.
        seconds = round(math.ceil((at - begin) / step - 1e-6) * step, 2)
        waiting = counts["sent"] + counts["killed"]
        samples[seconds] = {"seconds": seconds, "sent": len(states), "run": counts["ended"], "waiting": waiting}
    spans = _spans(kills, active) if kills else disturbances
    return {
        "begin": round(begin, 2),
        "samples": list(samples.values()),
        "marks": list(_marks(spans, begin)),
        "gaps": list(_gaps(writes, begin)),
    }


def _changes(
    sent: Mapping[str, float],
    events: Sequence[Event],
    kills: Sequence[Kill],
    active: Sequence[Mapping[str, float | None]],
) -> Iterator[tuple[float, str, str]]:
    """When, what, and to which task; of one moment in the order in which it is to be taken."""
    for task, at in sent.items():
        yield at, "sent", task
    for event in events:
        if event.task in sent:
            yield event.at, event.what, event.task
    for kill, tasks in zip(kills, active, strict=True):
        for task in tasks:
            yield kill.at, "killed", task


def _spans(kills: Sequence[Kill], active: Sequence[Mapping[str, float | None]]) -> Iterator[Disturbance]:
    for kill, tasks in zip(kills, active, strict=True):
        again = [seconds for seconds in tasks.values() if seconds is not None]
        yield Disturbance(kill.at, kill.at + max(again) if again and len(again) == len(tasks) else None)


def _marks(spans: Iterable[Disturbance], begin: float) -> Iterator[Json]:
    for number, span in enumerate(spans, 1):
        for what, at in (("disturbance", span.began), ("recovery", span.settled)):
            if at is not None:
                yield {"round": number, "what": what, "seconds": round(at - begin, 1)}


def _gaps(writes: Iterable[tuple[int, Round]], begin: float) -> Iterator[Json]:
    for number, one in writes:
        if one.began is not None and one.ended is not None:
            until = round(one.ended - begin, 1)
            yield {"round": number, "engine": one.engine, "seconds": round(one.began - begin, 1), "until": until}
