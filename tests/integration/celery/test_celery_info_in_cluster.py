# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery_info and the metrics of pods on the full cluster, against a load that is known and on the platform itself."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from helpers.modules import ROOT, run_module
from prometheus_client.parser import text_string_to_metric_families
from quotes_place import PYTHON, Place, opened

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
QUEUES = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())["celery_app_queues"]
PRIORITIES = (0, 3, 6, 9)
SECRET = "sesame-4711"  # noqa: S105 - an argument that must not show
LOAD = {queue: {pri: 1 + 4 * row + column for column, pri in enumerate(PRIORITIES)} for row, queue in enumerate(QUEUES)}
# Both slots of the only worker are taken and one task waits for its time, before anything lies in the queues.
SEND = """
import time
from quotes.app import app
from quotes import tasks
tasks.edit.apply_async((0.1,), countdown=250, headers={"note": %r})
inspect = app.control.inspect(timeout=3)
def count(answers): return sum(map(len, (answers or {}).values()))
while count(inspect.scheduled()) != 1: time.sleep(0.5)
for _ in range(2): tasks.edit.apply_async((200,), argsrepr=%r)
while count(inspect.active()) != 2: time.sleep(0.5)
for queue, each in %r.items():
    for priority, number in each.items():
        for _ in range(number):
            app.send_task("quotes.tasks.edit", queue=queue, priority=priority, ignore_result=True)
"""


@pytest.fixture(scope="module")
def place(cluster: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with opened(cluster, "info", tmp_path_factory.mktemp("info")) as found:
        given = found.folder / "vars.json"
        waived = ["press", "post", "feeds", "hooks"]
        given.write_text(
            json.dumps({"celery_worker_pools": [{"name": "default"}], "celery_worker_queues_waived": waived})
        )
        found.play(f"--extra-vars=@{given}")
        yield found


def metrics(cluster: Api, namespace: str, pod: str) -> dict[str, Any]:
    with (
        forward(cluster, namespace, pod, 8000) as local,
        urllib.request.urlopen(f"http://127.0.0.1:{local}/metrics", timeout=20) as answer,
    ):
        families = text_string_to_metric_families(answer.read().decode())
        return {family.name: family.samples for family in families}


def test_known_load_of_eight_queues_and_four_priorities(place: Place) -> None:
    (pod,) = [pod["metadata"]["name"] for pod in place.pods()]
    code = SEND % (SECRET, SECRET, LOAD)
    done = exec_in_pod(place.cluster, place.namespace, pod, [PYTHON, "-c", code], container="worker", timeout=240)
    assert done.rc == 0, done.stderr[-2000:]
    args = {"namespace": place.namespace, "app": "quotes.app", "python": PYTHON, "queues": QUEUES}
    found = run_module("celery_info", args)
    assert found["changed"] is False
    assert SECRET not in json.dumps(found)
    rows = {row["queue"]: row for row in found["queues"]}
    assert {queue: rows[queue]["backlog"] for queue in QUEUES} == {
        queue: sum(each.values()) for queue, each in LOAD.items()
    }
    desk = rows["desk"]
    assert (desk["ready"], desk["unacked"], desk["backlog"]) == (0, 3, 3)
    assert (desk["active"], desk["reserved"], desk["scheduled"], desk["consumers"]) == (2, 0, 1, 1)
    assert {(row["task"], row["state"], row["count"]) for row in found["tasks"]} == {
        ("quotes.tasks.edit", "active", 2),
        ("quotes.tasks.edit", "scheduled", 1),
    }
    ((worker,), (pool,)) = found["workers"], found["pools"]
    assert (worker["pod"], worker["kind"], worker["concurrency"], worker["processes"]) == (pod, "prefork", 2, 2)
    assert (pool["pool"], pool["answering"], pool["ready"]) == ("default", 1, 1)
    backlog = {
        sample.labels["queue"]: sample.value
        for sample in metrics(place.cluster, place.namespace, pod)["celery_queue_backlog"]
    }
    assert backlog["desk"] == 3


def test_on_the_platform_every_worker_answers_and_check_mode_does_the_same(cluster: Api) -> None:
    for check in (True, False, True, False):
        found = run_module("celery_info", {"namespace": NAMESPACE, "app": "config"}, check=check)
        assert found["changed"] is False
        assert [row for row in found["workers"] if not row["answers"]] == []
        assert {row["queue"] for row in found["queues"]} >= set(QUEUES)
        assert {row["consumers"] for row in found["queues"]} == {len(found["workers"])}
        assert found["broker"]["driver"] == "redis"


def test_every_worker_of_the_platform_tells_the_backlog_of_every_queue(cluster: Api) -> None:
    pods = [row["pod"] for row in run_module("celery_info", {"namespace": NAMESPACE, "app": "config"})["workers"]]
    assert pods
    for pod in pods:
        found = metrics(cluster, NAMESPACE, pod)
        assert found["celery_broker_up"][0].value == 1
        assert {sample.labels["queue"] for sample in found["celery_queue_backlog"]} == set(QUEUES)
