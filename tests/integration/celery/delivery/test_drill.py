# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills of real workers: each worker here plays a pod, its process group the container."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import LEASE, PODS, Book, Worker, container

from ansible_collections.celeryops.platform.plugins.module_utils._celery.worker_pod import ask
from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Kill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.load import Ask, Plan
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import hold as held
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workers import Workers
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

pytestmark = pytest.mark.slow

Json = dict[str, Any]
# A lease of 3 s, and what a machine needs that does much else.
BUDGET = Budget(elsewhere=20)


class Pods:
    """A Deployment of two workers."""

    def __init__(self, fleet: Callable[..., Worker], changes: Mapping[str, str]) -> None:
        self.fleet = fleet
        self.changes = dict(changes)
        self.replicas = 2
        self.made = 0
        self.workers: list[Worker] = []
        self.scale(2)

    def _new(self) -> None:
        self.made += 1
        name = f"pod{self.made}"
        # In a pod the host's name is the pod's.
        flags = [f"--hostname=celery@{name}", "--", "worker_soft_shutdown_timeout=20"]
        self.workers.append(self.fleet(name, *flags, **self.changes))

    def _leave(self, worker: Worker) -> None:
        worker.running.process.send_signal(signal.SIGTERM)
        assert worker.running.process.wait(60) == 0
        self.workers.remove(worker)

    def _of(self, victim: Json) -> Worker:
        return next(worker for worker in self.workers if worker.name == victim["spec"]["nodeName"])

    def pods(self) -> list[Json]:
        return [{"metadata": {"name": worker.name}, "spec": {"nodeName": worker.name}} for worker in self.workers]

    def refuse(self) -> None:
        assert all(worker.running.passes("ready") for worker in self.workers)

    def wait_settled(self) -> None:
        self.scale(self.replicas)

    def kill(self, victim: Json) -> Kill:
        worker, at = self._of(victim), time.time()
        worker.kill()
        self.workers.remove(worker)
        return Kill(worker.name, at, 128 - worker.running.process.returncode)

    def roll(self, number: int, last: bool) -> None:
        for worker in list(self.workers):
            self._new()
            self._leave(worker)

    def evict(self, victim: Json) -> None:
        self._leave(self._of(victim))
        self.wait_settled()

    def scale(self, replicas: int) -> None:
        while len(self.workers) < replicas:
            self._new()
        while len(self.workers) > replicas:
            self._leave(self.workers[-1])

    def put_back(self) -> None:
        self.scale(self.replicas)


@pytest.fixture
def worker_pod(redis: Redis) -> Ask:
    def asked(do: str, options: Mapping[str, Any]) -> Json:
        return ask(container(redis.url), PODS, "python", "drill", {"app": "kept", "do": do, **options}, 120)

    return asked


def hold(fleet: Callable[..., Worker], worker_pod: Ask, name: str, repetitions: int, **changes: str) -> Json:
    result: Json = {"rounds": []}
    plan = Plan(name, repetitions, tasks=24, task="kept.hold", shortest=0.1, longest=8, drain=60, budget=BUDGET)
    held(Workers(Pods(fleet, changes), plan), worker_pod, plan, result)
    return result


@pytest.mark.parametrize(
    ("name", "repetitions"), [("worker_kill", 3), ("rolling_update", 2), ("eviction", 2), ("scale_in", 2)]
)
def test_nothing_is_lost(
    fleet: Callable[..., Worker], worker_pod: Ask, book: Book, name: str, repetitions: int
) -> None:
    result = hold(fleet, worker_pod, name, repetitions)
    assert (result["passed"], result["lost"]) == (True, 0)
    assert result["sent"] == result["run"] >= 24 * repetitions
    assert result["run_twice"] == result["run_twice_killed"]
    if name == "worker_kill":
        assert [one["exit_code"] for one in result["rounds"]] == [137] * repetitions
        assert all(one["active"] > 0 for one in result["rounds"])
        assert result["run_twice_killed"] == sum(one["active"] for one in result["rounds"])
        assert result["seconds_elsewhere"] > LEASE / 2
    else:
        assert result["run_twice"] == 0
    course = result["timeline"]
    last = course["samples"][-1]
    assert (last["sent"], last["run"], last["waiting"]) == (result["sent"], result["sent"], 0)
    assert [(mark["round"], mark["what"]) for mark in course["marks"]] == [
        (number, what) for number in range(1, repetitions + 1) for what in ("disturbance", "recovery")
    ]
    assert all(0 <= mark["seconds"] <= 300 for mark in course["marks"])
    assert book.client.keys("celeryops:drill:*") == []


def test_a_budget_that_is_not_kept_fails(
    fleet: Callable[..., Worker], worker_pod: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lease of half a minute cannot keep a budget of a few seconds."""
    monkeypatch.setitem(globals(), "BUDGET", Budget(elsewhere=8))
    with pytest.raises(CeleryOpsError, match="did not run elsewhere within 8 s"):
        hold(fleet, worker_pod, "worker_kill", 1, CELERYOPS_LEASE="30")


def test_workers_without_a_lease_are_refused(fleet: Callable[..., Worker], worker_pod: Ask) -> None:
    with pytest.raises(CeleryOpsError, match="no worker keeps records"):
        hold(fleet, worker_pod, "eviction", 1, CELERYOPS_LEASE="0")
