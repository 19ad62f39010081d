# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill does to a platform, in which order, and that it is put back whatever happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Kill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.inside import busy
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Ask, Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.perform import plan_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import hold
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workers import DRILLS, Workers
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workload import settled
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

Json = dict[str, Any]


def pod(name: str, ready: bool = True) -> Json:
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "node-1"},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class Platform:
    """Workers and their records as data: every task starts at once in the first pod, and ends when it is read."""

    def __init__(self, *, lose: int = 0, fail: str = "", workers: int = 2, idle: bool = False) -> None:
        self.replicas = 2
        self.done: list[str] = []
        self.lines: list[Json] = []
        self.lose = lose
        self.fail = fail
        self.workers = workers
        self.idle = idle
        self.clock = 0.0

    # The workers
    def ask(self, do: str, options: Mapping[str, Any]) -> Json:
        if do == "send":
            busy = {} if self.idle else {"pod-1": 20}
            return {"sent": self.send(options), "busy": busy, "now": self.clock, "workers": self.workers}
        if do == "clear":
            self.done.append("clear")
            return {}
        started = {line["id"] for line in self.lines}
        for task in sorted(started)[self.lose :]:
            self.note(task, "ended", "pod-2")
        return {"lines": list(self.lines)}

    def send(self, options: Mapping[str, Any]) -> list[tuple[str, float, float]]:
        sent = []
        for seconds in options["rounds"][0] if self.workers else []:
            self.clock += 1
            sent.append((f"{seconds}-{self.clock}", seconds, self.clock))
            self.note(sent[-1][0], "started", "pod-1")
        return sent

    def note(self, task: str, what: str, where: str) -> None:
        self.lines.append({"id": task, "what": what, "worker": f"celery@{where}|1@{where}|1", "at": self.clock})

    # The Deployment
    def pods(self) -> list[Json]:
        return [pod("pod-1"), pod("pod-2")]

    def refuse(self) -> None:
        self.done.append("refuse")

    def wait_settled(self) -> None:
        self.done.append("settled")

    def act(self, what: str) -> None:
        self.done.append(what)
        if what.startswith(self.fail or "-"):
            raise CeleryOpsError("the cluster is gone")

    def kill(self, victim: Json) -> Kill:
        name = victim["metadata"]["name"]
        self.act(f"kill {name}")
        self.clock += 1
        at = self.clock
        for line in list(self.lines):
            self.clock += 0.1
            self.note(line["id"], "started", "pod-2")
        return Kill(name, at, 137)

    def roll(self, number: int, last: bool) -> None:
        self.act(f"roll {number}{' last' if last else ''}")

    def evict(self, victim: Json) -> None:
        self.act(f"evict {victim['metadata']['name']}")

    def scale(self, replicas: int) -> None:
        self.act(f"scale {replicas}")

    def put_back(self) -> None:
        self.done.append("put back")


def drill(platform: Platform, ask: Ask, plan: Plan, result: Json) -> None:
    hold(Workers(platform, plan), ask, plan, result)


def run(platform: Platform, name: str, repetitions: int = 1, **more: Any) -> Json:
    result: Json = {"rounds": []}
    plan = Plan(name, repetitions, tasks=3, task="shop.hold", shortest=20, longest=30, drain=0, **more)
    drill(platform, platform.ask, plan, result)
    return result


@pytest.mark.parametrize(
    ("name", "repetitions", "done"),
    [
        ("worker_kill", 1, ["kill pod-1", "settled"]),
        ("rolling_update", 1, ["roll 0", "roll 0 last"]),
        ("rolling_update", 3, ["roll 0", "roll 1", "roll 2 last"]),
        ("eviction", 2, ["evict pod-1", "evict pod-2"]),
        ("scale_in", 1, ["scale 3", "settled", "scale 2", "settled"]),
    ],
)
def test_what_is_done(name: str, repetitions: int, done: list[str]) -> None:
    platform = Platform()
    result = run(platform, name, repetitions)
    assert platform.done == ["refuse", *done, "put back", "clear"]
    assert (result["passed"], result["lost"], result["problems"]) == (True, 0, [])
    assert result["sent"] == result["run"] == 3 * (repetitions + (name == "scale_in"))
    assert len(result["rounds"]) == repetitions


def test_every_drill_is_tried() -> None:
    assert set(DRILLS) == {"worker_kill", "rolling_update", "eviction", "scale_in"}


def test_a_kill_is_told_with_its_figures() -> None:
    result = run(Platform(), "worker_kill")
    assert result["rounds"] == [
        {"victim": "pod-1", "node": "node-1", "exit_code": 137, "active": 3, "seconds_elsewhere": 0.3}
    ]
    assert (result["run_twice"], result["run_twice_killed"], result["seconds_elsewhere"]) == (3, 3, 0.3)


def test_lost_tasks_fail_with_the_whole_result() -> None:
    platform, result = Platform(lose=1), {"rounds": []}
    plan = Plan("eviction", 1, tasks=3, task="shop.hold", shortest=20, longest=30, drain=0)
    with pytest.raises(CeleryOpsError, match="1 of 3 tasks lost, 0 allowed"):
        drill(platform, platform.ask, plan, result)
    assert (result["passed"], result["sent"], result["run"], result["lost"]) == (False, 3, 2, 1)
    assert platform.done[-2:] == ["put back", "clear"]
    assert run(Platform(lose=1), "eviction", budget=Budget(lost=1))["passed"] is True


@pytest.mark.parametrize("what", ["kill", "roll", "evict", "scale"])
def test_put_back_after_a_failure(what: str) -> None:
    name = next(
        name for name in DRILLS if what in name or (what, name) in (("roll", "rolling_update"), ("evict", "eviction"))
    )
    platform = Platform(fail=what)
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        run(platform, name)
    assert platform.done[-2:] == ["put back", "clear"]


def test_a_drill_that_failed_on_the_way_tells_how_far_it_came() -> None:
    platform, result = Platform(fail="evict"), {"rounds": []}
    plan = Plan("eviction", 2, tasks=3, task="shop.hold", shortest=20, longest=30, drain=0)
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        drill(platform, platform.ask, plan, result)
    assert (result["sent"], result["run"], "passed" in result) == (3, 3, False)
    assert [(mark["round"], mark["what"]) for mark in result["timeline"]["marks"]] == [(1, "disturbance")]


def test_a_failure_is_told_where_no_worker_answers_any_more() -> None:
    platform, result = Platform(fail="evict"), {"rounds": []}

    def ask(do: str, options: Mapping[str, Any]) -> Json:
        if do != "send":
            raise CeleryOpsError("no worker can be asked")
        return platform.ask(do, options)

    plan = Plan("eviction", 1, tasks=3, task="shop.hold", shortest=20, longest=30, drain=0)
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        drill(platform, ask, plan, result)
    assert (result["sent"], result["run"], result["timeline"]["samples"][-1]["waiting"]) == (3, 0, 3)


def test_the_course_of_a_drill() -> None:
    course = run(Platform(), "worker_kill")["timeline"]
    assert course["begin"] == 1.0
    # Started as they are sent, killed at 4, and started elsewhere by 4.3.
    assert course["samples"][2:4] == [
        {"seconds": 2.0, "sent": 3, "run": 0, "waiting": 0},
        {"seconds": 3.0, "sent": 3, "run": 0, "waiting": 3},
    ]
    assert course["samples"][-1] == {"seconds": 3.3, "sent": 3, "run": 3, "waiting": 0}
    assert course["marks"] == [
        {"round": 1, "what": "disturbance", "seconds": 3.0},
        {"round": 1, "what": "recovery", "seconds": 3.3},
    ]
    marks = run(Platform(), "eviction", 2)["timeline"]["marks"]
    assert [(mark["round"], mark["what"]) for mark in marks] == [
        (number, what) for number in (1, 2) for what in ("disturbance", "recovery")
    ]


def test_workers_without_records_are_told() -> None:
    platform = Platform(workers=0)
    with pytest.raises(CeleryOpsError, match="celery_worker_lease"):
        run(platform, "eviction")
    assert platform.done[-2:] == ["put back", "clear"]


def test_tasks_that_do_not_last_are_told() -> None:
    platform = Platform(idle=True)
    with pytest.raises(CeleryOpsError, match="3 tasks that have ended"):
        run(platform, "eviction")
    assert platform.done == ["refuse", "put back", "clear"]


OPTIONS: Json = {
    "allowed": True,
    "drill": "eviction",
    "repetitions": 2,
    "tasks": 10,
    "task": "shop.hold",
    "argument": "hold",
    "queue": "",
    "shortest": 0.1,
    "longest": 30.0,
    "drain": 300.0,
    "outage": 90.0,
    "python": "python",
    "budget": {"lost": None, "run_twice": 2, "elsewhere": None},
}


def test_plan() -> None:
    plan = plan_of(OPTIONS)
    assert (plan.name, plan.repetitions, plan.budget) == ("eviction", 2, Budget(0, 2, 60.0))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"allowed": False}, "drill_allowed"),
        ({"shortest": 40.0}, "shortest 40"),
        ({"shortest": 0.0}, "shortest 0"),
        ({"repetitions": 0}, "repetitions from 1 to 100"),
        ({"repetitions": 101}, "repetitions from 1 to 100"),
        ({"outage": 0.0}, "outage above 0"),
        ({"outage": 241.0}, "not above 240"),
    ],
)
def test_plans_that_must_not_be_carried_out(change: Json, says: str) -> None:
    with pytest.raises(CeleryOpsError, match=says):
        plan_of({**OPTIONS, **change})


def test_who_is_busy_for_how_long() -> None:
    def line(task: str, what: str, where: str, at: float) -> Json:
        return {"id": task, "what": what, "worker": f"celery@{where}|7@{where}|1", "at": at}

    lines = [
        line("short", "started", "a", 1),
        line("long", "started", "a", 2),
        line("moved", "started", "a", 3),
        line("moved", "started", "b", 8),
        line("over", "started", "c", 4),
        line("over", "ended", "c", 10),
        line("of others", "started", "d", 5),
    ]
    assert busy(lines, {"short": 10, "long": 30, "moved": 5, "over": 6}) == {"a": 22, "b": 3}
    assert busy([], {}) == {}


DEPLOYMENT: Json = {
    "metadata": {"generation": 3},
    "spec": {"replicas": 2},
    "status": {"observedGeneration": 3, "updatedReplicas": 2},
}


@pytest.mark.parametrize(
    ("deployment", "pods", "well"),
    [
        (DEPLOYMENT, [pod("a"), pod("b")], True),
        (DEPLOYMENT, [pod("a"), pod("b", ready=False)], False),
        (DEPLOYMENT, [pod("a"), pod("b"), pod("c")], False),
        ({**DEPLOYMENT, "status": {"observedGeneration": 2, "updatedReplicas": 2}}, [pod("a"), pod("b")], False),
        ({**DEPLOYMENT, "status": {"observedGeneration": 3, "updatedReplicas": 1}}, [pod("a"), pod("b")], False),
    ],
)
def test_settled(deployment: Json, pods: list[Json], well: bool) -> None:
    assert settled(deployment, pods) is well


def test_a_pod_that_leaves_is_not_settled() -> None:
    leaving = pod("b")
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert settled(DEPLOYMENT, [pod("a"), leaving]) is False
