# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform's own workers and beat: proved by the module, killed, replaced, scraped."""

from __future__ import annotations

import os
import time
import urllib.request
from typing import Any

import pytest
import yaml
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward

pytestmark = [pytest.mark.cluster, pytest.mark.platform]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
QUEUES = yaml.safe_load((ROOT / "roles/celery_app/defaults/main/schedule.yml").read_text())["celery_app_queues"]
SETTINGS = {"celery-worker": {"task_acks_late": True, "worker_prefetch_multiplier": 1}}
ARGS = {"namespace": NAMESPACE, "app": "config", "queues": QUEUES, "settings": SETTINGS}
DEADLINE = 300
# Process 1 of the container is an init that stays; what it started is Celery's main process.
KILL = """
import os, re, signal
for pid in filter(str.isdigit, os.listdir("/proc")):
    if re.search(r"^PPid:\\s1$", open(f"/proc/{pid}/status").read(), re.M):
        os.kill(int(pid), signal.SIGKILL)
"""


def failed_names(result: dict[str, Any]) -> list[str]:
    return [check["name"] for check in result["checks"] if check["passed"] is False]


def workers(cluster: Api) -> list[dict[str, Any]]:
    """Workers that are ready and stay."""
    return [
        pod
        for pod in cluster.list("v1", "Pod", NAMESPACE, label_selector="component=celery-worker")
        if "deletionTimestamp" not in pod["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    ]


def test_check_mode_reads_and_apply_proves(cluster: Api) -> None:
    """Check, apply, check, apply: it never changes anything, and only check mode leaves the tasks open."""
    for check in (True, False, True, False):
        result = run_module("celery_validate", ARGS, check=check)
        assert result["changed"] is False
        assert failed_names(result) == []
        assert result["passed"] is True
        open_checks = [each["name"] for each in result["checks"] if each["passed"] is None]
        # No schedule was declared here.
        assert open_checks == [*(["a task through each queue"] if check else []), "schedule as declared"]
        assert {row["component"] for row in result["pods"]} >= {"celery-worker", "celery-beat", "redis"}


def test_queue_that_nobody_consumes_fails_with_the_whole_result(cluster: Api) -> None:
    result = run_module("celery_validate", {**ARGS, "queues": [*QUEUES, "nobody"], "task_timeout": 3})
    assert result["failed"] is True
    assert failed_names(result) == ["queues declared", "queues have consumers", "a task through each queue"]
    assert "nobody" in result["msg"]
    assert result["error"]["remedy"]
    assert len(result["checks"]) > len(failed_names(result))


def test_nothing_there_fails_no_check_mode(cluster: Api) -> None:
    args = {**ARGS, "namespace": "default"}
    assert run_module("celery_validate", args)["failed"] is True
    result = run_module("celery_validate", args, check=True)
    assert "failed" not in result
    assert {check["passed"] for check in result["checks"]} == {None}


def test_every_worker_is_scraped(cluster: Api) -> None:
    for pod in workers(cluster):
        annotations = pod["metadata"]["annotations"]
        assert annotations["prometheus.io/scrape"] == "true"
        port = int(annotations["prometheus.io/port"])
        with forward(cluster, NAMESPACE, pod["metadata"]["name"], port) as local:
            url = f"http://127.0.0.1:{local}{annotations['prometheus.io/path']}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                text = answer.read().decode()
        assert "celery_worker_consuming 1\n" in text
        assert "# TYPE celery_tasks_finished_total counter\n" in text


def test_deleted_worker_is_replaced_and_the_rest_works_on(cluster: Api) -> None:
    before = {pod["metadata"]["name"] for pod in workers(cluster)}
    victim = sorted(before)[0]
    cluster.delete(ObjectRef("v1", "Pod", victim, NAMESPACE))
    result = run_module("celery_validate", {**ARGS, "beat_timeout": 150}, check=False)
    assert "a task through each queue" not in failed_names(result)
    end = time.monotonic() + DEADLINE
    while len(found := {pod["metadata"]["name"] for pod in workers(cluster)}) < len(before) or victim in found:
        assert time.monotonic() < end, found
        time.sleep(1)
    assert failed_names(run_module("celery_validate", ARGS)) == []


def test_killed_main_process_comes_back(cluster: Api) -> None:
    """SIGKILL to Celery itself; the container ends with 137 and starts again."""
    victim = workers(cluster)[0]["metadata"]["name"]
    done = exec_in_pod(cluster, NAMESPACE, victim, ["python", "-c", KILL], container="worker", timeout=30)
    assert done.rc in (0, 137), done.stderr
    end = time.monotonic() + DEADLINE
    while True:
        pod = cluster.get(ObjectRef("v1", "Pod", victim, NAMESPACE))
        assert pod is not None
        (status,) = pod["status"]["containerStatuses"]
        if status["restartCount"] and status["ready"]:
            break
        assert time.monotonic() < end, status
        time.sleep(1)
    assert status["lastState"]["terminated"]["exitCode"] == 137
