# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What celery_info makes of the API's objects and of one container's answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.common import MARK
from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import Call
from ansible_collections.celeryops.platform.plugins.module_utils._celery.info import Question, look, report
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

QUESTION = Question("shop", "config", queues=("legacy",))
WORKER = {
    "kind": "prefork",
    "concurrency": 4,
    "processes": 4,
    "prefetch": 4,
    "uptime": 90,
    "clock_skew": 0.0,
    "active": 2,
    "reserved": 1,
    "scheduled": 0,
}
CENSUS: dict[str, Any] = {
    "driver": "redis",
    "workers": {
        "celery@celery-worker-a": {**WORKER, "queues": ["celery", "reports"]},
        "celery@elsewhere": {**WORKER, "kind": "solo", "processes": 1, "queues": ["celery"]},
    },
    "tasks": [
        {"task": "a", "queue": "celery", "state": "active", "acknowledged": False, "count": 1},
        {"task": "b", "queue": "celery", "state": "active", "acknowledged": True, "count": 2},
        {"task": "b", "queue": "celery", "state": "reserved", "acknowledged": False, "count": 1},
    ],
    "backlog": {
        "queues": {
            "celery": {"ready": 7, "unacked": 2, "backlog": 9},
            "legacy": {"ready": 0, "unacked": 0, "backlog": 0},
            "reports": {"ready": 1, "unacked": 0, "backlog": 1},
        },
        "unacked": 3,
        "elsewhere": 1,
    },
    "problem": None,
    "broker_skew": -2.5,
}


def deployment(name: str, **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}},
    }


def pod(name: str, app: str, created: str, ready: bool = True, phase: str = "Running") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created, "labels": {"app": app}},
        "spec": {"nodeName": "node-1", "containers": [{"name": "worker"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


DEPLOYMENTS = [
    deployment("celery-worker", component="celery-worker", pool="default"),
    deployment("celery-worker-reports", component="celery-worker", pool="reports"),
    deployment("web"),
]
PODS = [
    pod("celery-worker-b", "celery-worker", "2026-01-01T00:00:00Z"),
    pod("celery-worker-a", "celery-worker", "2026-01-02T00:00:00Z"),
    pod("celery-worker-c", "celery-worker", "2026-01-02T00:00:00Z", ready=False, phase="Failed"),
    pod("celery-worker-reports-x", "celery-worker-reports", "2026-01-03T00:00:00Z", ready=False),
    pod("web-a", "web", "2026-01-04T00:00:00Z"),
]


class Namespace:
    """Data for the two lists that are read."""

    def __init__(self, deployments: list[dict[str, Any]], pods: list[dict[str, Any]]) -> None:
        self.objects = {"Deployment": deployments, "Pod": pods}

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


class Container:
    """Answers, and remembers who was asked."""

    def __init__(self, answer: dict[str, Any], status: int = 0) -> None:
        self.calls: list[Call] = []
        self.result = status, f"printed at import\n{MARK}{json.dumps(answer)}\n", "a warning"

    def __call__(self, call: Call) -> tuple[int, str, str]:
        self.calls.append(call)
        return self.result


def test_the_newest_ready_worker_is_asked() -> None:
    container = Container({"result": CENSUS})
    seen = look(Namespace(DEPLOYMENTS, PODS), container, QUESTION)
    assert seen.census == CENSUS
    assert [(call.pod, call.container) for call in container.calls] == [("celery-worker-a", "worker")]
    # The number of characters that the program reads is that of what it is given.
    assert container.calls[0].command[3] == str(len(container.calls[0].stdin))


def test_workers_that_answer_that_do_not_and_that_are_not_ours() -> None:
    found = report(look(Namespace(DEPLOYMENTS, PODS), Container({"result": CENSUS}), QUESTION))
    rows = [(row["pod"], row["name"], row["deployment"], row["answers"], row["active"]) for row in found["workers"]]
    assert rows == [
        ("celery-worker-a", "celery@celery-worker-a", "celery-worker", True, 2),
        ("celery-worker-b", None, "celery-worker", False, None),
        ("celery-worker-reports-x", None, "celery-worker-reports", False, None),
        (None, "celery@elsewhere", None, True, 2),
    ]
    assert len({tuple(row) for row in found["workers"]}) == 1, "rows of one shape"
    assert found["pools"] == [
        {
            "deployment": "celery-worker",
            "pool": "default",
            "kinds": ["prefork"],
            "replicas": 2,
            "ready": 2,
            "answering": 1,
            "concurrency": 4,
            "processes": 4,
            "queues": ["celery", "reports"],
        },
        {
            "deployment": "celery-worker-reports",
            "pool": "reports",
            "kinds": [],
            "replicas": 2,
            "ready": 0,
            "answering": 0,
            "concurrency": 0,
            "processes": 0,
            "queues": [],
        },
    ]


def test_what_runs_acknowledged_is_added_to_the_backlog_and_nothing_else_is() -> None:
    found = report(look(Namespace(DEPLOYMENTS, PODS), Container({"result": CENSUS}), QUESTION))
    by_name = {row["queue"]: row for row in found["queues"]}
    assert by_name["celery"] == {
        "queue": "celery",
        "consumers": 2,
        "ready": 7,
        "unacked": 2,
        "running_acknowledged": 2,
        "backlog": 11,
        "active": 3,
        "reserved": 1,
        "scheduled": 0,
    }
    assert (by_name["legacy"]["consumers"], by_name["legacy"]["backlog"]) == (0, 0)
    assert (by_name["reports"]["consumers"], by_name["reports"]["backlog"]) == (1, 1)
    assert found["broker"] == {
        "driver": "redis",
        "unacked": 3,
        "unacked_elsewhere": 1,
        "clock_skew": -2.5,
        "problem": None,
    }


def test_a_broker_whose_backlog_is_not_known() -> None:
    census = {**CENSUS, "driver": "amqp", "backlog": None, "problem": "not known", "broker_skew": None}
    found = report(look(Namespace(DEPLOYMENTS, PODS), Container({"result": census}), QUESTION))
    assert {(row["queue"], row["backlog"]) for row in found["queues"]} == {("celery", None), ("reports", None)}
    assert found["broker"]["problem"] == "not known"


@pytest.mark.parametrize(
    ("workers", "pods", "told"),
    [
        (("celery-worker", "mistyped"), PODS, "no mistyped"),
        (("web",), PODS[:4], "none of 0 is"),
        ((), PODS[2:4], "none of 2 is"),
    ],
)
def test_nobody_to_ask(workers: tuple[str, ...], pods: list[dict[str, Any]], told: str) -> None:
    container = Container({"result": CENSUS})
    with pytest.raises(CeleryOpsError, match=told) as caught:
        look(Namespace(DEPLOYMENTS, pods), container, Question("shop", "config", workers=workers))
    assert caught.value.remedy
    assert container.calls == []


def test_a_namespace_without_workers() -> None:
    with pytest.raises(CeleryOpsError, match="There are no such workers"):
        look(Namespace(DEPLOYMENTS[2:], PODS), Container({"result": CENSUS}), QUESTION)


def test_what_the_program_refuses_is_told() -> None:
    refusal = {
        "kind": "unreachable",
        "message": "no broker",
        "expected": "a",
        "found": "b",
        "remedy": "c",
        "details": {},
    }
    with pytest.raises(shipment.AppError, match="no broker"):
        look(Namespace(DEPLOYMENTS, PODS), Container({"error": refusal}), QUESTION)
