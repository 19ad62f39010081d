# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared pools are made complete, and become command lines that Celery reads as they were meant."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._celery.pools import LEAST, complete, words
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

DEFAULTS: dict[str, Any] = {
    "kind": "prefork",
    "queues": ["celery", "mail"],
    "replicas": "3",
    "concurrency": 4,
    "min_available": 2,
    "settings": {"task_acks_late": True, "worker_prefetch_multiplier": 1},
    "env": [{"name": "A", "value": "1"}],
    "volumes": [],
    "volume_mounts": [],
    "startup_probe": {"periodSeconds": 10, "failureThreshold": 36},
    "liveness_probe": {},
    "readiness_probe": {},
    "flags": ["--without-gossip"],
    "log_level": "info",
}


def one(**pool: Any) -> dict[str, Any]:
    (found,) = complete([{"name": "reports", **pool}], DEFAULTS, "celery-worker")
    return found


def test_the_default_pool_has_the_name_of_the_workload() -> None:
    found = complete([{"name": "default"}, {"name": "reports"}], DEFAULTS, "celery-worker")
    assert [pool["deployment"] for pool in found] == ["celery-worker", "celery-worker-reports"]
    added = {"name": "default", "deployment": "celery-worker", "replicas": 3, "disruption": {"minAvailable": 2}}
    assert found[0] == {**DEFAULTS, **added, "autoscale": {}, "max_replicas": None}


def test_a_pool_adds_to_some_fields_and_replaces_the_others() -> None:
    pool = one(
        settings={"task_acks_late": False, "task_time_limit": 60},
        env=[{"name": "B", "value": "2"}],
        startup_probe={"failureThreshold": 9},
        queues=["reports"],
        flags=[],
    )
    assert pool["settings"] == {"task_acks_late": False, "worker_prefetch_multiplier": 1, "task_time_limit": 60}
    assert [each["name"] for each in pool["env"]] == ["A", "B"]
    assert pool["startup_probe"] == {"periodSeconds": 10, "failureThreshold": 9}
    assert (pool["queues"], pool["flags"]) == (["reports"], [])
    assert DEFAULTS["settings"] == {"task_acks_late": True, "worker_prefetch_multiplier": 1}


@pytest.mark.parametrize(("replicas", "available"), [(5, 2), (3, 2), (2, 1), (1, 0), (0, 0)])
def test_a_small_pool_lets_a_pod_go(replicas: int, available: int) -> None:
    assert one(replicas=replicas)["min_available"] == available


def test_what_a_pool_says_itself_is_left_to_the_check_of_the_settings() -> None:
    assert one(replicas=1, min_available=1)["min_available"] == 1
    assert one(kind="solo", concurrency=2)["concurrency"] == 2


def test_an_autoscaled_pool_starts_at_its_minimum_which_is_what_it_was_sized_for() -> None:
    assert one(autoscale={"max": 8})["autoscale"] == {
        "min": 3,
        "max": 8,
        "cpu": 75,
        "scale_up_stabilization": 0,
        "scale_down_stabilization": 300,
        "scale_down_pods": 1,
        "scale_down_period": 60,
    }
    pool = one(autoscale={"min": 2, "max": "8", "cpu": 50})
    assert (pool["replicas"], pool["max_replicas"], pool["autoscale"]["cpu"]) == (2, 8, 50)


def test_an_autoscaled_pool_lets_one_pod_go_however_many_there_are() -> None:
    pool = one(autoscale={"min": 2, "max": 8})
    assert (pool["disruption"], pool["min_available"]) == ({"maxUnavailable": 1}, 0)
    pool = one(autoscale={"min": 2, "max": 8}, min_available=1)
    assert (pool["disruption"], pool["min_available"]) == ({"minAvailable": 1}, 1)


def test_a_pool_may_leave_the_autoscaling_of_the_others_out() -> None:
    defaults = {**DEFAULTS, "autoscale": {"max": 5}}
    found = complete([{"name": "default"}, {"name": "reports", "autoscale": {}}], defaults, "celery-worker")
    assert [pool["max_replicas"] for pool in found] == [5, None]


@pytest.mark.parametrize(
    ("autoscale", "told"),
    [
        ({"min": 2}, "no max"),
        ({"max": 2}, "max 2 below min 3"),
        ({"min": 0, "max": 2}, "min 0"),
        ({"max": 4, "cpu": 0}, "cpu 0"),
        ({"max": 4, "memory": 1}, "no field 'memory'"),
        ({"max": 4, "scale_down_pods": 0}, "scale_down_pods 0"),
    ],
)
def test_bounds_that_are_none_are_refused(autoscale: dict[str, int], told: str) -> None:
    with pytest.raises(CeleryOpsError, match=told) as caught:
        one(autoscale=autoscale)
    assert "'reports'" in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("field", LEAST)
def test_a_number_that_is_too_small_is_refused(field: str) -> None:
    assert one(**{field: LEAST[field]})[field] == LEAST[field]
    with pytest.raises(CeleryOpsError, match=f"{field} of at least {LEAST[field]}.*{LEAST[field] - 1}"):
        one(**{field: LEAST[field] - 1})


def test_solo_runs_one_task_at_a_time() -> None:
    assert one(kind="solo")["concurrency"] == 1


@pytest.mark.parametrize(
    ("pools", "says"),
    [
        ([], "at least one pool"),
        ([{"name": "a"}, {"name": "a"}], "'a' twice"),
        ([{"name": "Reports"}], "'Reports'"),
        ([{"name": "-a"}], "'-a'"),
        ([{"kind": "solo"}], "found: ''"),
        ([{"name": "a" * 33}], "46 characters"),
    ],
)
def test_names_that_cannot_be(pools: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        complete(pools, DEFAULTS, "celery-worker")
    assert says in str(caught.value)
    assert "celery_worker_pools" in str(caught.value)


def test_the_command_line() -> None:
    pool = one(
        kind="gevent",
        concurrency=50,
        settings={
            "broker_transport_options": {"visibility_timeout": 900, "priority_steps": [0, 5]},
            "accept_content": ["json"],
            "task_time_limit": 60,
        },
    )
    assert words(pool, "shop", ["python", "-m", "celery"]) == [
        *("python", "-m", "celery", "-A", "shop", "worker"),
        *("--loglevel=info", "--pool=gevent", "--concurrency=50", "--queues=celery,mail"),
        *("--prefetch-multiplier=1", "--without-gossip", "--"),
        'accept_content=(list)["json"]',
        'broker_transport_options=(dict){"priority_steps": [0, 5], "visibility_timeout": 900}',
        "task_acks_late=true",
        "task_time_limit=60",
        "worker_prefetch_multiplier=1",
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"worker_concurrency": 8}, "concurrency of the pool"),
        ({"worker_pool": "solo"}, "kind of the pool"),
        ({"worker_prefetch_multiplier": 0}, "1 or more"),
    ],
)
def test_settings_that_celery_would_not_follow_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(CeleryOpsError, match="would have no effect") as caught:
        one(settings=settings)
    assert says in str(caught.value)


def test_without_settings_there_is_no_separator() -> None:
    (pool,) = complete([{"name": "default"}], {**DEFAULTS, "settings": {}}, "w")
    assert "--" not in words(pool, "shop", ["celery"])
