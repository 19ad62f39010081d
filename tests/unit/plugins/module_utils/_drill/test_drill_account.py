# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of each task, from what the workers recorded."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import (
    Account,
    Event,
    Kill,
    account,
    events_of,
    holds,
    problems,
)
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import KINDS, Budget, budget_of

BUDGET = Budget()


def event(task: str, what: str, pod: str, at: float) -> Event:
    return Event(task, what, pod, at)


def test_events_are_read_and_sorted() -> None:
    lines: list[dict[str, Any]] = [
        {"id": "a", "what": "ended", "worker": "celery@pod-1|7@pod-1|1.5", "at": 3},
        {"id": "a", "what": "started", "worker": "celery@pod-1|7@pod-1|1.5", "at": 1.5},
    ]
    assert events_of(lines) == [event("a", "started", "pod-1", 1.5), event("a", "ended", "pod-1", 3.0)]


def test_everything_ran_once() -> None:
    events = [event("a", "started", "p", 1), event("a", "ended", "p", 2)]
    found = account(["a"], events)
    assert found == Account(sent=1, run=1, twice=(), excused=(), lost=())
    assert problems(found, BUDGET) == []


def test_what_others_sent_is_not_counted() -> None:
    events = [event("x", "started", "p", 1), event("x", "started", "p", 2), event("x", "ended", "p", 3)]
    assert account([], events) == Account(0, 0, (), (), ())


def test_lost_and_run_twice() -> None:
    events = [
        event("a", "started", "p", 1),
        event("b", "started", "p", 1),
        event("b", "started", "q", 2),
        event("b", "ended", "q", 3),
    ]
    found = account(["a", "b", "c"], events)
    assert (found.run, found.twice, found.excused, found.lost) == (1, ("b",), (), ("a", "c"))
    assert [text.split(",")[0] for text in problems(found, BUDGET)] == [
        "2 of 3 tasks lost",
        "1 tasks ran twice although no worker was killed under them",
    ]
    assert problems(found, Budget(lost=2, run_twice=1)) == []


KILLED = [
    # Over before the kill
    event("early", "started", "victim", 1),
    event("early", "ended", "victim", 5),
    # Running there, and started again
    event("soon", "started", "victim", 6),
    event("late", "started", "victim", 7),
    # Running in another pod
    event("other", "started", "pod", 7),
    # Killed at 10
    event("other", "ended", "pod", 20),
    event("soon", "started", "pod", 40.26),
    event("soon", "ended", "pod", 41),
    event("late", "started", "pod", 75),
    event("late", "ended", "pod", 80),
]
SENT = ["early", "soon", "late", "other"]


def test_what_a_killed_worker_ran() -> None:
    kills = [Kill("victim", 10, 137)]
    found = account(SENT, KILLED, kills)
    assert found.active == ({"soon": 30.3, "late": 65.0},)
    assert (found.twice, found.excused, found.lost) == (("soon", "late"), ("soon", "late"), ())
    assert found.slowest == 65.0
    assert problems(found, BUDGET, kills) == ["1 tasks of worker victim did not run elsewhere within 60 s: late"]
    assert problems(found, Budget(elsewhere=70), kills) == []


def test_what_is_never_started_again_is_late_and_lost() -> None:
    kills = [Kill("victim", 10, 137)]
    found = account(["soon"], [event("soon", "started", "victim", 6)], kills)
    assert found.active == ({"soon": None},)
    assert len(problems(found, BUDGET, kills)) == 2
    assert found.slowest is None


@pytest.mark.parametrize(
    ("kill", "says"),
    [
        (Kill("victim", 10, 0), "ended with 0 in place of 137"),
        (Kill("victim", 10, None), "ended with None in place of 137"),
        (Kill("idle", 10, 137), "ran no task when it was killed"),
    ],
)
def test_a_kill_that_shows_nothing_fails(kill: Kill, says: str) -> None:
    found = account(SENT, KILLED, [kill])
    assert [text for text in problems(found, Budget(run_twice=9, elsewhere=99), [kill]) if says in text] != []


def test_lengths_cover_the_range_and_repeat() -> None:
    lengths = holds(400, 0.1, 30, "worker_kill 1")
    assert lengths == holds(400, 0.1, 30, "worker_kill 1")
    assert lengths != holds(400, 0.1, 30, "worker_kill 2")
    assert min(lengths) >= 0.1
    assert max(lengths) <= 30
    assert min(lengths) < 0.2
    assert max(lengths) > 25


def test_a_limit_that_there_is_none_of_is_not_held() -> None:
    found = account(["a", "b"], [event("b", "started", "p", 1), event("b", "started", "q", 2)])
    assert len(problems(found, BUDGET)) == 2
    assert problems(found, Budget(lost=None, run_twice=None)) == []


def test_each_kind_is_held_to_what_applies_to_it() -> None:
    told = {kind: budget_of(kind, {"lost": 1, "redis_gap": None}).told() for kind in KINDS}
    assert told["worker_kill"] == {"lost": 1, "run_twice": 0, "elsewhere": 60.0}
    # What the master of Redis had not replicated is told, and no fault.
    assert told["redis_master_pod"] == {"redis_gap": 10.0, "replica_writes": 0}
    assert told["redis_proxy_pod"] == {"lost": 1, "redis_gap": 10.0, "replica_writes": 0}
    assert told["postgresql_primary_pod"] == {"lost": 1, "run_twice": 0, "postgresql_gap": 20.0, "commits_lost": 0}
    assert told["node_drain"] == {"lost": 1}
    assert told["node_loss"] == {"lost": 1, "node_gap": 60.0, "commits_lost": 0, "replica_writes": 0}
