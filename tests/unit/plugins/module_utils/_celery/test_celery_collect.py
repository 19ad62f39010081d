# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from a namespace, and which container is asked."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import MARK
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import Expectation
from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import (
    Call,
    Visit,
    observe,
    pod_rows,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

EXPECTED = Expectation("shop", ("celery-worker",), "celery-beat", ("celery",), settings={"celery-worker": {"a": 1}})
VISIT = Visit(app="config", task="config.celery.debug_task")


def pod(name: str, component: str, created: str, ready: bool = True, **changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "creationTimestamp": created,
            "labels": {"component": component},
            **changes.pop("metadata", {}),
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "main"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"restartCount": 1}],
            **changes,
        },
    }


def deployment(component: str) -> dict[str, Any]:
    return {
        "metadata": {"name": component, "namespace": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"component": component}}},
    }


class Namespace:
    """Data for the three lists that are read."""

    def __init__(self, deployments: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
        self.objects = {
            "Deployment": deployments,
            "Pod": pods,
            "PodDisruptionBudget": [{"metadata": {"name": "celery-worker"}}],
            "Secret": [{"metadata": {"name": "app-secrets"}, "data": {"KEY": "a2V5", "NONE": ""}}],
        }

    def list(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
    ) -> list[dict[str, Any]]:
        assert namespace == "shop"
        return self.objects[kind]


PODS = [
    pod("celery-worker-b", "celery-worker", "2026-01-02T00:00:00Z"),
    pod("celery-worker-a", "celery-worker", "2026-01-01T00:00:00Z"),
    pod("celery-worker-c", "celery-worker", "2026-01-03T00:00:00Z", ready=False),
    pod("celery-worker-d", "celery-worker", "2026-01-04T00:00:00Z", metadata={"deletionTimestamp": "now"}),
    pod("redis-0", "redis", "2026-01-01T00:00:00Z"),
    pod("migrate-x", "migrate", "2026-01-01T00:00:00Z", phase="Succeeded"),
]


def test_newest_ready_worker_is_asked() -> None:
    calls: list[Call] = []

    def execute(call: Call) -> tuple[int, str, str]:
        calls.append(call)
        return 0, f"imported\n{MARK}" + json.dumps({"result": {"time": 1}}) + "\n", "a warning"

    seen = observe(Namespace([deployment("celery-worker")], PODS), execute, EXPECTED, VISIT)
    assert seen.answers == {"time": 1}
    assert [(call.pod, call.container) for call in calls] == [("celery-worker-b", "main")]
    options = json.loads(zlib.decompress(base64.b64decode(calls[0].stdin)))["request"]
    assert calls[0].command[-1] == str(len(calls[0].stdin))
    assert (options["workers"], options["queues"], options["send"]) == (2, ["celery"], True)
    assert options["settings"] == ["a"]
    assert seen.secrets == {"app-secrets": {"KEY": 3, "NONE": 0}}
    assert [budget["metadata"]["name"] for budget in seen.budgets] == ["celery-worker"]


def test_a_lease_is_looked_at_until_it_names_a_pod() -> None:
    """A beat that has just left its Lease to the others: the next look finds who took it."""
    beat = deployment("celery-beat")
    env = [{"name": "CELERYOPS_LEASE", "value": "shop/celery-beat"}]
    beat["spec"]["template"] = {"spec": {"containers": [{"name": "beat", "env": env}]}}
    looks = []

    class Electing(Namespace):
        def list(
            self,
            api_version: str,
            kind: str,
            namespace: str | None = None,
            label_selector: str | None = None,
            field_selector: str | None = None,
        ) -> list[dict[str, Any]]:
            if kind != "Lease":
                return super().list(api_version, kind, namespace)
            looks.append(field_selector)
            return [{"spec": {"holderIdentity": "celery-beat-a_0-1" if len(looks) > 1 else ""}}]

    pods = [pod("celery-beat-a", "celery-beat", "2026-01-01T00:00:00Z")]

    def execute(call: Call) -> tuple[int, str, str]:
        pytest.fail(f"asked {call.pod}")

    seen = observe(Electing([beat], pods), execute, EXPECTED, VISIT)
    assert seen.beat_lease == {"spec": {"holderIdentity": "celery-beat-a_0-1"}}
    assert looks == ["metadata.name=celery-beat"] * 2
    # Check mode looks once.
    looks.clear()
    seen = observe(Electing([beat], pods), execute, EXPECTED, replace(VISIT, send=False))
    assert seen.beat_lease == {"spec": {"holderIdentity": ""}}
    assert len(looks) == 1


def test_no_worker_is_ready() -> None:
    def execute(call: Call) -> tuple[int, str, str]:
        pytest.fail(f"asked {call.pod}")

    seen = observe(Namespace([deployment("celery-worker")], PODS[2:3]), execute, EXPECTED, VISIT)
    assert (seen.answers, seen.problem) == (None, "none of 1 worker pods is ready")
    seen = observe(Namespace([], PODS), execute, EXPECTED, VISIT)
    assert (seen.answers, seen.problem) == (None, "there are no workers")


def test_application_that_cannot_be_loaded_is_told() -> None:
    def execute(call: Call) -> tuple[int, str, str]:
        return 1, "", "Traceback\n  line\nModuleNotFoundError: No module named 'config'\n"

    seen = observe(Namespace([deployment("celery-worker")], PODS), execute, EXPECTED, VISIT)
    assert seen.answers is None
    assert seen.problem.startswith("pod celery-worker-b: ")
    assert "exit status 1: Traceback /   line / ModuleNotFoundError: No module named 'config'" in seen.problem


def test_an_account_that_may_not_read_secrets() -> None:
    class Confined(Namespace):
        def list(self, api_version: str, kind: str, *place: Any, **selectors: Any) -> list[dict[str, Any]]:
            if kind == "Secret":
                raise CeleryOpsError("LIST Secret: forbidden")
            return super().list(api_version, kind, *place, **selectors)

    seen = observe(Confined([], PODS), lambda call: (0, "", ""), EXPECTED, VISIT)
    assert seen.secrets is None


def test_rows_leave_finished_pods_out() -> None:
    def execute(call: Call) -> tuple[int, str, str]:
        return 0, MARK + '{"result": {}}', ""

    rows = pod_rows(observe(Namespace([deployment("celery-worker")], PODS), execute, EXPECTED, VISIT))
    assert [row["name"] for row in rows] == [
        "celery-worker-a",
        "celery-worker-b",
        "celery-worker-c",
        "celery-worker-d",
        "redis-0",
    ]
    assert rows[0] == {
        "component": "celery-worker",
        "name": "celery-worker-a",
        "node": "node-1",
        "ready": True,
        "restarts": 1,
    }
    assert rows[3]["ready"] is False
