# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What celery_validate asks from inside a container, asked of a real application."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery.schedules import crontab, schedule
from celery_running import HERE, Redis, Running

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._celery import inside
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.answers import same
from ansible_collections.celeryops.platform.plugins.module_utils._celery.pools import words

OPTIONS = {
    "app": "tiny",
    "task": "tiny.nap",
    "queues": ["a", "b"],
    "workers": 1,
    "send": True,
    "beat": False,
    "connections": 10,
    "within": 3.0,
    "task_timeout": 10.0,
    "beat_timeout": 0.0,
    "lag": 180.0,
    "settings": [],
}


def ask(redis: Redis, **changes: Any) -> dict[str, Any]:
    """The program is fed to a Python of its own, as in a container; its standard input stays open."""
    command, packed = shipment.visit(sys.executable, "validate", {**OPTIONS, **changes}, ())
    process = subprocess.Popen(
        command,
        cwd=HERE,
        env={**os.environ, "TINY_URL": redis.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(packed)
    process.stdin.flush()
    output = process.stdout.read()
    return shipment.interpret(shipment.Outcome(process.wait(30), output))


def test_healthy(worker: Callable[..., Running], redis: Redis) -> None:
    worker()
    found = ask(redis, task="tiny.hello")
    assert found["broker"]["roles"] == ["master"] * 10
    assert "p@ss" not in json.dumps(found)
    assert "p%40ss" not in json.dumps(found)
    (name,) = found["workers"]["pongs"]
    assert found["workers"]["queues"] == {name: ["a", "b"]}
    assert found["workers"]["probes"][name]["consuming"] is True
    assert [(run["queue"], run["state"], run["result"]) for run in found["tasks"]] == [
        ("a", "SUCCESS", "'hello'"),
        ("b", "SUCCESS", "'hello'"),
    ]


def test_settings_on_the_command_line_are_read_back(worker: Callable[..., Running], redis: Redis) -> None:
    given = {
        "broker_transport_options": {"visibility_timeout": 900, "priority_steps": [0, 5]},
        "task_acks_late": True,
        "task_time_limit": 400,
        "worker_prefetch_multiplier": 1,
    }
    fields = {"kind": "prefork", "concurrency": 2, "queues": ["a", "b"], "flags": [], "log_level": "info"}
    command = words({**fields, "settings": given}, "tiny", [])
    worker(*command[command.index("--") :])
    found = ask(redis, send=False, settings=[*given, "task_soft_time_limit"])["workers"]["conf"]
    (conf,) = found.values()
    assert [name for name, value in given.items() if not same(value, conf[name])] == []
    assert "task_soft_time_limit" not in conf


def test_queue_without_consumer_has_no_result(worker: Callable[..., Running], redis: Redis) -> None:
    worker()
    found = ask(redis, task="tiny.hello", queues=["a", "nobody"], task_timeout=2.0)
    assert [run["state"] for run in found["tasks"]] == ["SUCCESS", "NO RESULT"]


def test_failing_task_is_told(worker: Callable[..., Running], redis: Redis) -> None:
    worker()
    (found,) = ask(redis, task="tiny.add", queues=["a"])["tasks"]
    assert found["state"] == "FAILURE"
    assert "missing 2 required positional arguments" in found["result"]


def test_worker_without_probes_still_answers(worker: Callable[..., Running], redis: Redis) -> None:
    worker()
    found = ask(redis, send=False)
    assert found["tasks"] is None
    assert len(found["workers"]["pongs"]) == 1


def test_replica_is_found_out_and_nothing_is_sent(replica: Redis) -> None:
    found = ask(replica)
    assert found["broker"]["roles"] == ["slave"] * 10
    assert found["tasks"] is None


@pytest.mark.slow
def test_unreachable_broker_is_told(redis: Redis) -> None:
    redis.stop()
    (role,) = ask(redis)["broker"]["roles"]
    assert role.startswith("error: ")


@pytest.mark.parametrize(
    ("when", "seconds"),
    [
        (schedule(90), 90),
        (crontab(), 60),
        (crontab(minute="*/5"), 300),
        (crontab(hour=2, minute=0), 86400),
        (crontab(day_of_week=0, hour=3, minute=0), 7 * 86400),
        (object(), None),
    ],
)
def test_interval(when: object, seconds: float | None) -> None:
    now = datetime.datetime(2026, 3, 3, 12, 30, 15, tzinfo=datetime.UTC)
    assert inside.interval(when, now) == seconds
