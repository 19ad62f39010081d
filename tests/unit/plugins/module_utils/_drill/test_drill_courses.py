# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of engines and nodes: what is done in which order, what is put back, and which limits hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import budget_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.engines import Engines
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.node_courses import NodeDrain, NodeLoss
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round, Struck
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Course, hold
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

Json = dict[str, Any]
LABEL = "node-role.kubernetes.io/control-plane"


class Platform:
    """Workers, nodes, and what was done to all of them in order. ``lose``: tasks that never end."""

    def __init__(self, *, lose: int = 0, fail: str = "", gap: float = 2.0, moved: bool = True) -> None:
        self.done: list[str] = []
        self.sent: list[str] = []
        self.lose = lose
        self.fail = fail
        self.gap = gap
        self.moved = moved

    def act(self, what: str) -> None:
        self.done.append(what)
        if self.fail and what.startswith(self.fail):
            raise CeleryOpsError("the cluster is gone")

    def ask(self, do: str, options: Mapping[str, Any]) -> Json:
        if do == "send":
            self.act("send")
            new = [f"task-{len(self.sent)}"]
            self.sent += new
            return {"sent": [(task, 1.0, 100.0) for task in new], "busy": {"pod": 9}, "now": 101.0, "workers": 1}
        if do == "read":
            what = [(task, what) for task in self.sent[self.lose :] for what in ("started", "ended")]
            return {
                "lines": [
                    {"id": task, "what": what, "worker": "celery@pod|1", "at": 102.0 + number}
                    for number, (task, what) in enumerate(what)
                ]
            }
        return {}

    # Workers and hands
    def refuse_ill(self) -> None:
        self.act("refuse workers")

    def wait_settled(self) -> None:
        self.act("workers settled")

    def prepare(self) -> None:
        self.act("prepare hands")

    def close(self) -> None:
        self.act("close hands")

    # Nodes
    host = "https://192.0.2.10:6443"

    def all(self) -> list[Json]:
        return [node("cp", labels={LABEL: ""}), node("w-1"), node("w-2")]

    def refuse(self, names: Sequence[str]) -> None:
        self.act(f"refuse {' '.join(names)}")

    def drain(self, name: str) -> int:
        self.act(f"drain {name}")
        return 4

    def uncordon(self, name: str) -> None:
        self.act(f"uncordon {name}")

    def put_back(self) -> None:
        self.act("uncordon the rest")

    def owners(self, name: str) -> list[Any]:
        return [name]

    def wait_whole(self, name: str, owners: Sequence[Any]) -> None:
        self.act(f"whole {name}")

    def cut(self, name: str, image: str, python: str, seconds: float) -> Json:
        self.act(f"cut {name} {seconds:g}")
        return {"at": 103.5, "ended": 103.5 + seconds, "devices": ["eth0"]}


def node(name: str, *, ready: bool = True, cordoned: bool = False, labels: Json | None = None) -> Json:
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"unschedulable": True} if cordoned else {},
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


class Engine:
    def __init__(self, platform: Platform, name: str, *, waits: bool = False, **facts: Any) -> None:
        self.platform = platform
        self.name = name
        self.synchronous = waits
        self.facts = facts

    def refuse(self) -> None:
        self.platform.act(f"refuse {self.name}")

    def open(self, avoid: str = "") -> None:
        self.platform.act(f"open {self.name} {avoid}".strip())

    def begin(self) -> None:
        self.platform.act(f"begin {self.name}")

    def hit(self, kind: str, struck: Struck) -> str:
        struck(None)
        self.platform.act(f"hit {kind}")
        return "a-0"

    def end(self, victim: str) -> Round:
        self.platform.act(f"end {self.name} {victim}")
        after = "a-1" if self.platform.moved else "a-0"
        gap = self.platform.gap
        return Round(self.name, victim, "a-0", after, gap, 104.0, 104.0 + gap, 50, **self.facts)

    def close(self) -> None:
        self.platform.act(f"close {self.name}")

    def waits(self) -> bool:
        return self.synchronous


def held(course: Course, platform: Platform, kind: str, repetitions: int = 1, result: Json | None = None) -> Json:
    found: Json = {"rounds": []} if result is None else result
    plan = Plan(kind, repetitions, tasks=1, task="hold", drain=0, budget=budget_of(kind, None))
    hold(course, platform.ask, plan, found)
    return found


def of_engine(platform: Platform, kind: str, **facts: Any) -> Engines:
    return Engines(kind, Engine(platform, kind.partition("_")[0], **facts), platform, platform)


def test_an_engine_is_drilled_under_tasks_and_writes() -> None:
    platform = Platform()
    result = held(of_engine(platform, "redis_master_pod", lost=3), platform, "redis_master_pod", 2)
    strike = ["send", "begin redis", "hit redis_master_pod", "end redis a-0", "workers settled"]
    put_back = ["close redis", "close hands"]
    assert platform.done == ["refuse workers", "refuse redis", "open redis", *strike, *strike, *put_back]
    assert (result["passed"], result["sent"], result["lost"]) == (True, 2, 0)
    assert [(one["kind"], one["gap"], one["lost"]) for one in result["rounds"]] == [("failover", 2.0, 3)] * 2
    (line,) = result["writes"]
    assert (line["engine"], line["kind"], line["rounds"], line["acknowledged"], line["lost"]) == (
        *("redis", "failover"),
        *(2, 100, 6),
    )
    assert result["timeline"]["gaps"] == [
        {"round": number, "engine": "redis", "seconds": 4.0, "until": 6.0} for number in (1, 2)
    ]
    assert [(mark["round"], mark["what"]) for mark in result["timeline"]["marks"]] == [
        (number, what) for number in (1, 2) for what in ("disturbance", "recovery")
    ]


@pytest.mark.parametrize(
    ("kind", "platform", "facts", "says"),
    [
        ("redis_proxy_pod", {"lose": 1}, {}, "1 of 1 tasks lost, 0 allowed"),
        ("redis_master_pod", {"gap": 11.0}, {}, "are within 11 s, 10 s allowed"),
        ("postgresql_pooler_pod", {"gap": 21.0}, {}, "are within 21 s, 20 s allowed"),
        ("postgresql_primary_pod", {}, {"lost": 1, "waits": True}, "1 of 50 acknowledged commits lost"),
        ("redis_sentinel_pod", {}, {"replica_steady": 1}, "1 writes reached a replica in steady state"),
    ],
)
def test_a_budget_that_is_not_kept(kind: str, platform: Json, facts: Json, says: str) -> None:
    site, result = Platform(**platform), {"rounds": []}
    with pytest.raises(CeleryOpsError, match=f"drill {kind} failed.*{says}"):
        held(of_engine(site, kind, **facts), site, kind, result=result)
    assert result["passed"] is False


def test_what_is_measured_and_no_fault() -> None:
    site = Platform(lose=1)
    result = held(of_engine(site, "redis_master_process", lost=5), site, "redis_master_process")
    assert (result["passed"], result["lost"], result["budget"]) == (True, 1, {"redis_gap": 10.0, "replica_writes": 0})
    # Nobody waits for a replica: then its limit does not apply.
    site = Platform()
    result = held(of_engine(site, "postgresql_primary_pod", lost=5), site, "postgresql_primary_pod")
    assert (result["passed"], "commits_lost" in result["budget"]) == (True, False)


@pytest.mark.parametrize("what", ["open", "send", "begin", "hit", "end", "workers settled"])
def test_an_engine_is_left_alone_whatever_happens(what: str) -> None:
    site, result = Platform(fail=what), {"rounds": []}
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        held(of_engine(site, "redis_master_pod"), site, "redis_master_pod", result=result)
    assert site.done[-2:] == ["close redis", "close hands"]
    assert result["writes"] == [] or what == "workers settled"


def test_what_could_not_be_put_back_hides_no_failure() -> None:
    site = Platform(fail="hit")
    course = of_engine(site, "redis_master_pod")
    course.put_back = lambda: site.act("hit again")  # type: ignore[method-assign]
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        held(course, site, "redis_master_pod")
    assert site.done[-1] == "hit again"


def both(platform: Platform, **facts: Any) -> list[Engine]:
    return [Engine(platform, "redis"), Engine(platform, "postgresql", **facts)]


def test_every_node_is_drained_in_turn() -> None:
    site = Platform(moved=False)
    result = held(NodeDrain(site, [], both(site), site, site), site, "node_drain")
    assert site.done[:4] == ["refuse workers", "refuse redis", "refuse postgresql", "refuse cp w-1 w-2"]
    clients = [f"{what} {name}" for name in ("redis", "postgresql") for what in ("open", "begin")]
    clients = [f"{words} w-1" if words.startswith("open") else words for words in clients]
    ends = [words for name in ("redis", "postgresql") for words in (f"end {name} w-1", f"close {name}")]
    first = site.done.index("drain w-1")
    assert site.done[first - 5 : first + 8] == [
        *("send", *clients),
        *("drain w-1", "uncordon w-1", "whole w-1"),
        *(*ends, "workers settled"),
    ]
    assert [(one["node"], one["evicted"], one["kind"]) for one in result["rounds"]] == [
        (name, 4, "in_place") for name in ("cp", "w-1", "w-2")
    ]
    assert (result["passed"], result["sent"], result["budget"]) == (True, 3, {"lost": 0})


@pytest.mark.parametrize("what", ["drain", "whole", "end", "workers settled"])
def test_a_node_is_uncordoned_whatever_happens(what: str) -> None:
    site = Platform(fail=what)
    with pytest.raises(CeleryOpsError, match="the cluster is gone"):
        held(NodeDrain(site, ["w-1"], both(site), site, site), site, "node_drain")
    assert "uncordon w-1" in site.done
    assert site.done[-4:] == ["uncordon the rest", "close redis", "close postgresql", "close hands"]


def loss(site: Platform, engines: list[Engine], wanted: Sequence[str] = ()) -> NodeLoss:
    return NodeLoss(site, wanted, engines, site, site, outage=90, image="app", python="python")


def test_a_node_is_lost() -> None:
    site = Platform()
    result = held(loss(site, both(site, waits=True)), site, "node_loss")
    assert [words for words in site.done if words.startswith("cut")] == ["cut w-1 90", "cut w-2 90"]
    told = result["rounds"][0]
    assert (told["node"], told["devices"], told["seconds"], told["kind"]) == ("w-1", ["eth0"], 90, "failover")
    assert told["redis"]["gap"] == told["postgresql"]["gap"] == 2.0
    # By the node's own clock
    assert result["timeline"]["marks"][0] == {"round": 1, "what": "disturbance", "seconds": 3.5}
    # With the master of Redis went what it had not replicated.
    assert result["budget"] == {"node_gap": 60.0, "commits_lost": 0, "replica_writes": 0}


def test_a_node_without_the_master_takes_no_task_with_it() -> None:
    site = Platform(lose=1, moved=False)
    with pytest.raises(CeleryOpsError, match="1 of 1 tasks lost"):
        held(loss(site, both(site), ["w-1"]), site, "node_loss")
    site = Platform(gap=61)
    with pytest.raises(CeleryOpsError, match="are within 61 s, 60 s allowed"):
        held(loss(site, both(site), ["w-2"]), site, "node_loss")


def test_a_node_without_engines() -> None:
    site = Platform()
    result = held(loss(site, [], ["w-1"]), site, "node_loss")
    assert (result["passed"], result["writes"], "kind" in result["rounds"][0]) == (True, [], False)
