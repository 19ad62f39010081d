# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each check: what proves it, what refutes it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.answers import same
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import (
    Check,
    Expectation,
    Observation,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.report import evaluate

QUEUES = ("celery", "webhooks")
SETTINGS = {"celery-worker": {"task_acks_late": True, "worker_soft_shutdown_timeout": 45}}
SCHEDULE = {"name": "webhooks: retry failed", "task": "retry", "queue": "webhooks", "cron": "* * * * *", "priority": 8}
EXPECTED = Expectation("shop", ("celery-worker",), "celery-beat", QUEUES, settings=SETTINGS, schedule=(SCHEDULE,))
NOW = 1_000_000.0


def container(name: str, **changes: Any) -> dict[str, Any]:
    probe = {"exec": {"command": ["sh"]}, "periodSeconds": 10}
    return {
        "name": name,
        "image": "shop:1",
        "envFrom": [{"secretRef": {"name": "app-secrets"}}],
        "env": [{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis-auth", "key": "password"}}}],
        "resources": {
            "requests": {"cpu": "400m", "memory": "512Mi"},
            "limits": {"cpu": "800m", "memory": "1Gi"},
        },
        "startupProbe": probe,
        "livenessProbe": probe,
        "readinessProbe": probe,
        **changes,
    }


def deployment(name: str, replicas: int, strategy: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "replicas": replicas,
            "strategy": {"type": strategy, "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container("main")], "initContainers": [container("wait")]},
            },
        },
        "status": {"replicas": replicas, "readyReplicas": replicas, "updatedReplicas": replicas},
    }


def pod(name: str, node: str) -> dict[str, Any]:
    status = {"containerStatuses": [{"name": "main", "image": "shop:1", "imageID": "sha256:1"}]}
    return {"metadata": {"name": name}, "spec": {"nodeName": node}, "status": status}


def answers() -> dict[str, Any]:
    probe = {"consuming": True, "consuming_age": 1.5, "beat": {}}
    run = {"task": "retry", "id": "1", "state": "SUCCESS", "queue": "webhooks", "finished": NOW - 70}
    names = ("celery@one", "celery@two")
    conf = {"task_acks_late": True, "worker_soft_shutdown_timeout": 45.0}
    return {
        "broker": {
            "url": "redis://:**@redis-0:6379/0",
            "roles": ["master"] * 10,
            "backend": "redis://redis-0",
        },
        "workers": {
            "pongs": list(names),
            "queues": {name: list(QUEUES) for name in names},
            "probes": {names[0]: {**probe, "beat": {"webhooks: retry failed": run}}, names[1]: probe},
            "conf": dict.fromkeys(names, conf),
        },
        "tasks": [
            {"queue": queue, "state": "SUCCESS", "seconds": 0.1, "result": "{}", "problem": ""} for queue in QUEUES
        ],
        "entries": [
            {
                "name": "webhooks: retry failed",
                "task": "retry",
                "queue": "webhooks",
                "cron": "* * * * *",
                "interval": 60.0,
                "last_run": NOW - 71,
                "runs": 3,
            }
        ],
        "time": NOW,
        "given_url": "redis://redis-0:6379",
        "backend": {"kind": "RedisBackend", "problem": None},
        "django": {"errors": [], "warnings": ["security.W001: x"]},
        "declared": {"queues": list(QUEUES), "creates_missing": False},
        "backlog": [
            {queue: {"ready": 5, "unacked": 1, "backlog": 6} for queue in QUEUES},
            {queue: {"ready": 4, "unacked": 0, "backlog": 4} for queue in QUEUES},
        ],
    }


def budget(name: str, allowed: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}},
        "status": {"disruptionsAllowed": allowed},
    }


@pytest.fixture
def healthy() -> Observation:
    return Observation(
        workers=(deployment("celery-worker", 2, "RollingUpdate"),),
        beat=deployment("celery-beat", 1, "Recreate"),
        worker_pods={"celery-worker": (pod("one", "node-1"), pod("two", "node-2"))},
        beat_pods=(pod("celery-beat-a", "node-1"),),
        budgets=(budget("celery-worker", 1),),
        secrets={"app-secrets": {"DJANGO_SECRET_KEY": 64}, "redis-auth": {"password": 32}},
        answers=answers(),
    )


def judge(seen: Observation, name: str, expected: Expectation = EXPECTED) -> Check:
    return next(check for check in evaluate(expected, seen) if check.name == name)


def test_healthy_platform_passes_every_check(healthy: Observation) -> None:
    checks = evaluate(EXPECTED, healthy)
    assert [check.name for check in checks if check.passed is not True] == []
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.evidence and check.as_dict()["remedy"] is None for check in checks)


def test_evidence_says_where_and_when(healthy: Observation) -> None:
    assert judge(healthy, "workers running").evidence == ("2 of 2 ready: one on node-1, two on node-2")
    assert judge(healthy, "beat's tasks run").evidence == (
        "'webhooks: retry failed' (retry) ran 70 s ago, last run recorded 71 s ago, run 3, due every 60 s"
    )
    assert "10 of 10 new connections" in judge(healthy, "broker is the master").evidence


@pytest.mark.parametrize(
    "status",
    [
        {"replicas": 2, "readyReplicas": 1, "updatedReplicas": 2},
        {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 2},
        {},
    ],
)
def test_incomplete_rollout_fails(healthy: Observation, status: dict[str, int]) -> None:
    (worker,) = healthy.workers
    assert judge(replace(healthy, workers=({**worker, "status": status},)), "workers running").passed is False


def test_every_pool_counts(healthy: Observation) -> None:
    expected = replace(EXPECTED, workers=("celery-worker", "celery-worker-reports"))
    check = judge(healthy, "workers running", expected)
    assert (check.passed, check.evidence) == (False, "no Deployment for celery-worker-reports")
    (worker,) = healthy.workers
    more = deployment("celery-worker-reports", 1, "RollingUpdate")
    both = replace(healthy, workers=(worker, more))
    assert judge(both, "workers running", expected).evidence.startswith("3 of 3 ready")
    assert judge(both, "workers answer", expected).evidence.startswith("2 of 3 answered")
    more["status"]["readyReplicas"] = 0
    assert judge(both, "workers running", expected).passed is False
    more["spec"]["strategy"]["type"] = "Recreate"
    assert judge(both, "strategies", expected).passed is False


def test_nothing_there_fails_with_a_remedy() -> None:
    checks = evaluate(EXPECTED, Observation(workers=(), beat=None, problem="there are no workers", sent=False))
    assert [check.name for check in checks if check.passed is None] == ["a task through each queue"]
    assert True not in {check.passed for check in checks}
    assert all(check.as_dict()["remedy"] for check in checks if check.passed is False)


def test_nothing_there_yet_has_not_failed_in_check_mode() -> None:
    checks = evaluate(EXPECTED, Observation(workers=(), beat=None, check_mode=True))
    assert {check.passed for check in checks} == {None}


def test_workers_scaled_to_zero_fail(healthy: Observation) -> None:
    none = deployment("celery-worker", 0, "RollingUpdate")
    assert judge(replace(healthy, workers=(none,)), "workers running").passed is False


def test_two_beats_fail(healthy: Observation) -> None:
    check = judge(replace(healthy, beat=deployment("celery-beat", 2, "Recreate")), "beat running")
    assert check.passed is False
    assert "act all at once" in str(check.remedy)


def elected(replicas: int, holder: str | None, pods: int) -> dict[str, Any]:
    """Changes to an observation: beats that elect the one that acts."""
    beat = deployment("celery-beat", replicas, "RollingUpdate")
    env = [{"name": "CELERYOPS_LEASE", "value": "shop/celery-beat"}]
    beat["spec"]["template"]["spec"]["containers"] = [container("beat", env=env)]
    return {
        "beat": beat,
        "beat_pods": tuple(pod(f"celery-beat-{letter}", "node-1") for letter in "abc"[:pods]),
        "beat_lease": {"spec": {"holderIdentity": holder}},
    }


def test_one_beat_acts_and_the_others_stand_by(healthy: Observation) -> None:
    seen = replace(healthy, **elected(2, "celery-beat-b_0-1", 2))
    check = judge(seen, "beat running")
    assert check.passed is True
    assert check.evidence.endswith("; celery-beat-b acts, 1 stand by")
    assert judge(seen, "strategies").passed is True
    assert judge(seen, "strategies").evidence.endswith("beat RollingUpdate, elected")


@pytest.mark.parametrize(
    ("holder", "why"),
    [(None, "held by nobody"), ("", "held by nobody"), ("celery-beat-z_0-1", "held by celery-beat-z")],
)
def test_beats_of_which_none_acts_fail(healthy: Observation, holder: str | None, why: str) -> None:
    check = judge(replace(healthy, **elected(2, holder, 2)), "beat running")
    assert check.passed is False
    assert "none of 2 acts" in check.evidence
    assert why in check.evidence
    assert "why the Lease is not to be had" in str(check.remedy)


def test_elected_beats_that_are_recreated_fail(healthy: Observation) -> None:
    changes = elected(2, "celery-beat-a_0-1", 2)
    changes["beat"]["spec"]["strategy"] = {"type": "Recreate"}
    assert judge(replace(healthy, **changes), "strategies").passed is False


def test_beats_with_a_lock_of_their_own_may_be_several_and_roll(healthy: Observation) -> None:
    beat = deployment("celery-beat", 2, "RollingUpdate")
    beat["spec"]["template"]["spec"]["containers"][0]["args"] = ["beat", "--scheduler=redbeat.RedBeatScheduler"]
    seen = replace(healthy, beat=beat)
    assert judge(seen, "beat running").passed is True
    assert judge(seen, "strategies").passed is True


def test_an_application_without_a_scheduler_is_asked_nothing_about_one(healthy: Observation) -> None:
    checks = evaluate(replace(EXPECTED, beat="", schedule=()), replace(healthy, beat=None, beat_pods=()))
    assert [check.name for check in checks if check.passed is not True] == []
    assert not [check.name for check in checks if "beat" in check.name or "schedule" in check.name]


def changed(seen: Observation, **changes: Any) -> Observation:
    found = copy.deepcopy(seen.answers)
    assert found is not None
    for path, value in changes.items():
        *parents, last = path.split("__")
        place: Any = found
        for key in parents:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value
    return replace(seen, answers=found)


@pytest.mark.parametrize("roles", [["master"] * 9 + ["slave"], ["error: TimeoutError: x"], []])
def test_any_connection_elsewhere_fails(healthy: Observation, roles: list[str]) -> None:
    assert judge(changed(healthy, broker__roles=roles), "broker is the master").passed is False


def test_silent_worker_fails(healthy: Observation) -> None:
    assert judge(changed(healthy, workers__pongs=["celery@one"]), "workers answer").passed is False


def test_worker_that_stopped_consuming_is_named(healthy: Observation) -> None:
    idle = {"celery@two": {"consuming": False, "consuming_age": None, "beat": {}}}
    check = judge(changed(healthy, workers__probes=idle), "workers consume")
    assert (check.passed, check.evidence) == (False, "0 of 1 consume, oldest evidence 0.0 s; not: celery@two")


def test_foreign_workers_without_probes_leave_the_check_open(healthy: Observation) -> None:
    assert judge(changed(healthy, workers__probes={}), "workers consume").passed is None


def test_a_prefetch_that_is_only_shown_is_named(healthy: Observation) -> None:
    settings = {"celery-worker": {"worker_prefetch_multiplier": 1}}
    conf = {name: {"worker_prefetch_multiplier": 1} for name in ("celery@one", "celery@two")}
    seen = changed(healthy, workers__conf=conf)
    assert judge(seen, "settings in effect", replace(EXPECTED, settings=settings)).passed is True
    seen.answers["workers"]["probes"]["celery@two"]["prefetch_multiplier"] = 4
    check = judge(seen, "settings in effect", replace(EXPECTED, settings=settings))
    assert (check.passed, check.evidence) == (False, "celery@two: worker_prefetch_multiplier is 4 instead of 1")


def test_orphaned_queue_is_named(healthy: Observation) -> None:
    check = judge(changed(healthy, workers__queues={"celery@one": ["celery"]}), "queues have consumers")
    assert check.passed is False
    assert str(check.remedy).endswith("webhooks")


def test_a_setting_that_is_not_in_effect_is_named(healthy: Observation) -> None:
    other = {"celery@two": {"task_acks_late": False, "worker_soft_shutdown_timeout": 45.0}}
    check = judge(changed(healthy, workers__conf=other), "settings in effect")
    assert (check.passed, check.evidence) == (False, "celery@two: task_acks_late is False instead of True")
    assert judge(healthy, "settings in effect").evidence == "4 values read back from 2 workers"
    assert judge(changed(healthy, workers__conf={}), "settings in effect").passed is False
    assert judge(healthy, "settings in effect", replace(EXPECTED, settings={})).passed is None


@pytest.mark.parametrize(
    ("given", "found", "outcome"),
    [
        ("500", 500.0, True),
        (500, 501.0, False),
        (True, "true", True),
        (True, 1, False),
        ("info", "info", True),
        ("info", None, False),
        ({"a": 1}, {"a": 1, "b": 2}, True),
        ({"a": 1}, {"b": 2}, False),
        ({"a": 1}, "text", False),
        ([1, 2], [1, 2], True),
        ([1, 2], [1], False),
        ("secret", "********", True),
    ],
)
def test_values_as_celery_types_them(given: Any, found: Any, outcome: bool) -> None:
    assert same(given, found) is outcome


def test_missing_result_fails(healthy: Observation) -> None:
    lost = {"queue": "webhooks", "state": "NO RESULT", "problem": "TimeoutError: 20 s"}
    check = judge(changed(healthy, tasks=[lost]), "a task through each queue")
    assert check.passed is False
    assert "webhooks: NO RESULT TimeoutError" in check.evidence


def test_check_mode_leaves_the_tasks_open(healthy: Observation) -> None:
    seen = replace(changed(healthy, tasks=None), sent=False)
    assert judge(seen, "a task through each queue").passed is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"entries__0__last_run": None}, "the entry never advanced"),
        ({"entries__0__last_run": NOW - 301}, "the entry advanced longer ago than two intervals and the lag"),
        ({"time": NOW + 51}, "the run is older than two intervals"),
        ({"entries__0__interval": None}, "an entry whose interval cannot be told"),
        ({"entries": []}, "an entry that is no longer enabled"),
        ({"workers__probes": {}}, "no worker ran anything that beat sent"),
    ],
)
def test_old_or_half_evidence_of_beat_fails(healthy: Observation, change: dict[str, Any], why: str) -> None:
    assert judge(changed(healthy, **change), "beat's tasks run").passed is False, why


def test_failed_task_is_no_evidence_of_beat(healthy: Observation) -> None:
    seen = changed(healthy)
    assert seen.answers is not None
    seen.answers["workers"]["probes"]["celery@one"]["beat"]["webhooks: retry failed"]["state"] = "FAILURE"
    check = judge(seen, "beat's tasks run")
    assert check.passed is False
    assert "webhooks: retry failed" in check.evidence


def test_unreadable_schedule_says_why(healthy: Observation) -> None:
    check = judge(changed(healthy, entries=None, entries_problem="ProgrammingError: no table"), "beat's tasks run")
    assert (check.passed, check.evidence) == (False, "ProgrammingError: no table")


def with_container(seen: Observation, one: dict[str, Any]) -> Observation:
    (worker,) = copy.deepcopy(seen.workers)
    worker["spec"]["template"]["spec"]["containers"] = [one]
    return replace(seen, workers=(worker,))


def test_missing_probe_fails(healthy: Observation) -> None:
    one = container("main")
    del one["livenessProbe"]
    check = judge(with_container(healthy, one), "probes")
    assert (check.passed, check.evidence) == (False, "celery-worker/main: no livenessProbe")


@pytest.mark.parametrize(
    ("resources", "evidence"),
    [
        ({}, "lacks a cpu request or limit"),
        (
            {"requests": {"cpu": "300m", "memory": "1Gi"}, "limits": {"cpu": "800m", "memory": "1Gi"}},
            "celery-worker/main: cpu 300m to 800m is above ratio 2",
        ),
        (
            {"requests": {"cpu": 1, "memory": "512Mi"}, "limits": {"cpu": 1, "memory": "1025Mi"}},
            "celery-worker/main: memory 512Mi to 1025Mi is above ratio 2",
        ),
    ],
)
def test_resources_beyond_the_ratio_fail(healthy: Observation, resources: dict[str, Any], evidence: str) -> None:
    check = judge(with_container(healthy, container("main", resources=resources)), "resources")
    assert check.passed is False
    assert evidence in check.evidence


def test_resources_are_held_against_what_the_namespace_allows(healthy: Observation) -> None:
    resources = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"cpu": "800m", "memory": "1Gi"}}
    seen = with_container(healthy, container("main", resources=resources))
    assert judge(seen, "resources", replace(EXPECTED, max_ratio={"cpu": 10, "memory": 2})).passed is True
    assert judge(seen, "resources").passed is False


def test_rolling_beat_fails(healthy: Observation) -> None:
    beat = deployment("celery-beat", 1, "RollingUpdate")
    assert judge(replace(healthy, beat=beat), "strategies").passed is False


# Each of the further checks: what of the answers is changed, and what the check then says.
ANSWERS = [
    ("broker URL in effect", {"given_url": "redis://redis:6379/0"}, False, "instead of redis://redis:6379/0"),
    ("broker URL in effect", {"given_url": None}, None, "has no CELERY_BROKER_URL"),
    ("result backend works", {"backend__problem": "ReadOnlyError: no"}, False, "ReadOnlyError"),
    ("result backend works", {"backend__kind": "disabled"}, None, "keeps no results"),
    ("manage.py check", {"django__errors": ["urls.E001: bad"]}, False, "urls.E001: bad"),
    ("manage.py check", {"django": None}, None, "no Django"),
    ("queues declared", {"declared__queues": ["celery"]}, False, "webhooks"),
    ("queues declared", {"declared": {"queues": ["celery"], "creates_missing": True}}, True, "made when they are used"),
    ("backlog drains", {"backlog__1__celery": {"ready": 5, "unacked": 0}}, False, "celery: 5 wait, none is in work"),
    ("backlog drains", {"backlog__1__celery": {"ready": 9, "unacked": 2}}, True, "13 wait, 2 in work"),
    ("backlog drains", {"backlog": None, "backlog_problem": "no Redis"}, None, "no Redis"),
    ("beat ticks", {"entries__0__last_run": NOW - 241}, False, "is 181 s overdue"),
    ("beat ticks", {"entries__0__last_run": NOW - 239}, True, "on time"),
    ("beat ticks", {"entries__0__last_run": None}, None, "was due yet"),
    ("beat ticks", {"entries": []}, False, "none of 0"),
    ("beat ticks", {"entries": None, "entries_problem": "no table"}, False, "no table"),
    ("schedule as declared", {"entries": []}, False, "is missing or disabled"),
    ("schedule as declared", {"entries__0__queue": "celery"}, False, "queue is celery instead of webhooks"),
    ("schedule as declared", {"entries__0__cron": "0 * * * *"}, False, "cron is 0 * * * *"),
]


@pytest.mark.parametrize(("name", "change", "passed", "evidence"), ANSWERS)
def test_what_the_application_answers(
    healthy: Observation, name: str, change: dict[str, Any], passed: bool | None, evidence: str
) -> None:
    check = judge(changed(healthy, **change), name)
    assert check.passed is passed
    assert evidence in check.evidence


def test_one_name_for_two_images_fails(healthy: Observation) -> None:
    other = pod("two", "node-2")
    other["status"]["containerStatuses"][0]["imageID"] = "sha256:2"
    seen = replace(healthy, worker_pods={"celery-worker": (pod("one", "node-1"), other)})
    assert judge(seen, "images equal").evidence == "shop:1 is 2 different images"


def test_beat_of_another_image_than_any_worker_fails(healthy: Observation) -> None:
    beat = deployment("celery-beat", 1, "Recreate")
    beat["spec"]["template"]["spec"]["containers"][0]["image"] = "shop:2"
    check = judge(replace(healthy, beat=beat), "images equal")
    assert (check.passed, check.evidence) == (False, "beat runs shop:2, the workers shop:1")


@pytest.mark.parametrize(
    ("secrets", "passed", "evidence"),
    [
        ({"app-secrets": {"A": 1}}, False, "there is no Secret redis-auth"),
        ({"app-secrets": {"A": 0}, "redis-auth": {"password": 1}}, False, "app-secrets/A is empty"),
        ({"app-secrets": {"A": 1}, "redis-auth": {"other": 1}}, False, "redis-auth/password is missing"),
        ({"app-secrets": {"A": 1}, "redis-auth": {"password": 1}}, True, "2 keys of 2 Secrets"),
        (None, None, "may not read"),
    ],
)
def test_secrets(healthy: Observation, secrets: Any, passed: bool | None, evidence: str) -> None:
    check = judge(replace(healthy, secrets=secrets), "secrets present")
    assert check.passed is passed
    assert evidence in check.evidence


def test_a_budget_that_lets_no_pod_go_fails(healthy: Observation) -> None:
    check = judge(replace(healthy, budgets=(budget("celery-worker", 0),)), "a drain is allowed")
    assert (check.passed, check.evidence) == (False, "celery-worker lets 0 of 2 pods go")
    assert judge(replace(healthy, budgets=(budget("redis", 0),)), "a drain is allowed").passed is True


def test_no_schedule_was_declared(healthy: Observation) -> None:
    assert judge(healthy, "schedule as declared", replace(EXPECTED, schedule=())).passed is None
