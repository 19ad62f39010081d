# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines of progress, shown while a task runs: the tests are the controller that waits for a line before it goes on."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from helpers.apiserver import ApiServer
from helpers.manifests import config_map, deployment, live
from helpers.plays import Play, other_interpreter, play

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

MODULE = "celeryops.platform.manifests"
UNSEEN, ONE, TWO = (
    "its controller has not seen it yet",
    "1 of 2 pods are available",
    "2 of 2 pods are available",
)


def worker(namespace: str, name: str = "worker") -> Json:
    found = deployment(namespace)
    found["metadata"]["name"] = name
    found["spec"]["replicas"] = 2
    return found


def roll(api: Api, obj: Json, available: int) -> None:
    """What the controller of Deployments would write down."""
    generation = live(api, obj)["metadata"]["generation"]
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": available, "availableReplicas": available}
    api.patch(ObjectRef.of(obj), {"status": {"observedGeneration": generation, **counts}}, subresource="status")


def follow(api: Api, running: Play, *objects: Json) -> None:
    """Goes on with each Deployment only when the line about its state before has been shown."""
    steps = {}
    for obj in objects:
        name = f"Deployment {obj['metadata']['namespace']}/{obj['metadata']['name']}"
        steps[f"{name}: {UNSEEN}"] = (obj, 1)
        steps[f"{name}: {ONE}"] = (obj, 2)
    for line in running.lines():
        obj, available = steps.get(line.removeprefix("progress: [localhost] => "), (None, 0))
        if obj is not None:
            roll(api, obj, available)
    running.process.wait()


def states(obj: Json, *messages: str) -> list[str]:
    return [f"Deployment {obj['metadata']['namespace']}/{obj['metadata']['name']}: {one}" for one in messages]


@pytest.fixture
def started(api_server: ApiServer, tmp_path: Path) -> Any:
    @contextmanager
    def run(tasks: list[dict[str, Any]], *, own_process: bool = False) -> Iterator[Play]:
        place = {"interpreter": other_interpreter(tmp_path)} if own_process else {}
        with play(tmp_path, tasks, defaults={"kubeconfig": str(api_server.kubeconfig)}, **place) as running:
            yield running

    return run


def task(*objects: Json, register: str = "applied", **keywords: Any) -> dict[str, Any]:
    options = {"definitions": list(objects), "wait_timeout": 60}
    return {MODULE: options, "register": register, **keywords}


@pytest.mark.slow
@pytest.mark.parametrize("own_process", [False, True])
def test_lines_come_while_the_task_runs(api: Api, namespace: str, started: Any, own_process: bool) -> None:
    """For each item of a loop; of what is unchanged nothing is said; a failure keeps what was said before it."""
    one, other, stuck = (worker(namespace, name) for name in ("one", "other", "stuck"))
    loop = {MODULE: {"definitions": ["{{ item }}"]}, "register": "applied", "loop": [one, other]}
    failing = task(stuck, register="failing", ignore_errors=True)
    failing[MODULE]["wait_timeout"] = 3
    with started([loop, task(one, other, register="again"), failing], own_process=own_process) as running:
        follow(api, running, one, other)
    assert running.process.returncode == 0, "\n".join(running.output)
    expected = [states(one, UNSEEN, ONE, TWO), states(other, UNSEEN, ONE, TWO)]
    assert running.progress() == [*expected[0], *expected[1], *states(stuck, UNSEEN)]
    found = running.results
    assert [item["progress"] for item in found["applied"]["results"]] == expected
    assert (found["again"]["changed"], found["again"]["progress"]) == (False, [])
    assert (found["failing"]["failed"], found["failing"]["progress"]) == (True, states(stuck, UNSEEN))


@pytest.mark.slow
def test_a_module_that_dies_does_not_hold_the_play(namespace: str, started: Any) -> None:
    obj = worker(namespace)
    tasks = [task(obj, ignore_errors=True), task(config_map(namespace), register="after")]
    with started(tasks, own_process=True) as running:
        for line in running.lines():
            if line.endswith(UNSEEN):
                os.kill(writer(running.process.pid), signal.SIGKILL)
    running.process.wait()
    assert running.process.returncode == 0, "\n".join(running.output)
    assert running.results["applied"]["failed"]
    assert running.results["after"]["changed"]


def writer(playbook: int) -> int:
    """The module's process: the one that holds the channel open and is not of the playbook's own."""
    own = Path(f"/proc/{playbook}/cmdline").read_bytes()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            open_files = [str(one.readlink()) for one in (process / "fd").iterdir()]
            if (process / "cmdline").read_bytes() != own and any("/progress-" in one for one in open_files):
                found.append(int(process.name))
        except OSError:
            continue
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
def test_where_lines_are_not_shown(api: Api, namespace: str, started: Any) -> None:
    """In check mode there is nothing to wait for; of what nobody sees, the controller here is told by a watch."""
    planned, secret, later = (worker(namespace, name) for name in ("planned", "secret", "later"))
    tasks = [
        task(planned, register="planned", check_mode=True),
        task(secret, register="secret", no_log=True),
        task(later, register="later", **{"async": 60, "poll": 1}),
    ]
    with started(tasks) as running:
        for _event, found in api.watch("apps/v1", "Deployment", namespace, timeout=120):
            if "availableReplicas" not in found["status"]:
                roll(api, found, 2)
            if found["metadata"]["name"] == "later":
                break
        running.end()
    assert running.process.returncode == 0, "\n".join(running.output)
    assert running.progress() == []
    assert [running.results[name]["changed"] for name in ("planned", "secret", "later")] == [True] * 3
    assert running.results["planned"]["progress"] == []
