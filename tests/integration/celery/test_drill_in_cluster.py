# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills and dead letters on the full cluster, with an application that knows nothing of either."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.modules import run_module
from quotes_place import PYTHON, Place, opened

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

DEADLINE = 180
# How often each disturbance is made; the project's own figures are 20 kills and 5 of each other.
KILLS = int(os.environ.get("DRILL_KILLS", "2"))
OTHERS = int(os.environ.get("DRILL_OTHERS", "1"))
# The children of Celery's main process, which is the container's first process or the child of an init.
KILL_CHILDREN = """
import os, re, signal
parents = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    with open(f"/proc/{pid}/status") as file:
        parents[int(pid)] = int(re.search(r"^PPid:\\s(\\d+)$", file.read(), re.M).group(1))
with open("/proc/1/comm") as file:
    init = file.read().strip() in ("catatonit", "tini", "dumb-init")
main = next(pid for pid, parent in parents.items() if parent == 1) if init else 1
for pid, parent in parents.items():
    if parent == main:
        os.kill(pid, signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One pool of three workers."""
    with opened(cluster, "drill", tmp_path_factory.mktemp("drill")) as found:
        settings = {
            "celery_worker_replicas": 3,
            "celery_worker_pools": [{"name": "default"}],
            "celery_worker_queues_waived": ["press", "post", "feeds", "hooks"],
        }
        (found.folder / "vars.json").write_text(json.dumps(settings))
        found.play(f"--extra-vars=@{found.folder / 'vars.json'}")
        yield found


def args(place: Place, **more: Any) -> dict[str, Any]:
    return {"namespace": place.namespace, "app": "quotes.app", "python": PYTHON, **more}


def drill(place: Place, name: str, *, check: bool = False, **more: Any) -> dict[str, Any]:
    plan = {"drill": name, "task": "quotes.tasks.edit", "allowed": True, "tasks": 24, **more}
    # A round takes as long as its longest tasks, and what it is to be waited for.
    return run_module("celery_drill", args(place, **plan), check=check, timeout=300 + 150 * more.get("repetitions", 1))


@pytest.mark.parametrize(
    ("name", "repetitions"),
    [("worker_kill", KILLS), ("rolling_update", OTHERS), ("eviction", OTHERS), ("scale_in", OTHERS)],
)
def test_nothing_is_lost(place: Place, cluster: Api, name: str, repetitions: int) -> None:
    ref = ObjectRef("apps/v1", "Deployment", "celery-worker", place.namespace)
    before = cluster.get(ref)
    result = drill(place, name, repetitions=repetitions)
    print(json.dumps({key: value for key, value in result.items() if key != "invocation"}))
    assert not result.get("failed"), result
    assert (result["passed"], result["lost"], result["problems"]) == (True, 0, [])
    assert result["sent"] == result["run"] >= 24 * repetitions
    assert result["run_twice"] == result["run_twice_killed"]
    assert len(result["rounds"]) == repetitions
    if name == "worker_kill":
        assert {one["exit_code"] for one in result["rounds"]} == {137}
        assert all(one["active"] >= 1 and one["seconds_elsewhere"] <= 60 for one in result["rounds"])
    else:
        assert result["run_twice"] == 0
    after = cluster.get(ref)
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]
    assert "celeryops-drill" not in {entry["manager"] for entry in after["metadata"]["managedFields"]}


def test_refused_without_permission_and_only_looked_at_in_check_mode(place: Place) -> None:
    assert "drill_allowed" in drill(place, "eviction", allowed=False)["msg"]
    looked = drill(place, "eviction", check=True)
    assert (looked["changed"], looked["sent"], looked["rounds"]) == (True, 0, [])


def test_dead_letters_are_listed_requeued_and_purged(place: Place, cluster: Api) -> None:
    """A task whose process is killed until it is given up."""
    pods = place.pods()
    code = "from quotes import tasks; print(tasks.edit.delay(hold=120).id)"
    sent = exec_in_pod(
        cluster,
        place.namespace,
        pods[0]["metadata"]["name"],
        [PYTHON, "-c", code],
        container="worker",
        timeout=60,
    )
    task = sent.stdout.split()[-1]

    def letters(**more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run_module("celery_dead_letters_info", args(place, ids=[task], **more))["letters"]
        return found

    def killed() -> list[dict[str, Any]]:
        end = time.monotonic() + DEADLINE
        while not (found := letters()):
            assert time.monotonic() < end, "the task became no dead letter"
            for pod in pods:
                name = pod["metadata"]["name"]
                command = [PYTHON, "-c", KILL_CHILDREN]
                exec_in_pod(cluster, place.namespace, name, command, container="worker", timeout=60)
        return found

    (letter,) = killed()
    assert (letter["task"], letter["queue"], letter["args"]) == ("quotes.tasks.edit", "desk", "VALUE_REDACTED")
    assert "signal 9" in letter["exception"]
    assert letters(arguments=True)[0]["kwargs"] == {"hold": 120}
    changed = [
        run_module("celery_dead_letters", args(place, state="requeued", ids=[task]), check=check)["changed"]
        for check in (True, False, True, False)
    ]
    assert changed == [True, True, False, False]
    assert len(killed()) == 1
    changed = [
        run_module("celery_dead_letters", args(place, state="purged", ids=[task]), check=check)["changed"]
        for check in (True, False, True, False)
    ]
    assert changed == [True, True, False, False]
