# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a broker URL, and who wrote it."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._redis.broker import (
    FIELD_MANAGER,
    make_plan,
    owners_of,
    redacted,
    scheme_of,
    target_of,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import Goal
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import Replication
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Pod, Service, Survey

HOST = "redis-0.redis-headless.jewelry-shop.svc.cluster.local"
GOAL = Goal(f"redis://{HOST}:6379/0", HOST, 6379, Target(HOST, 6379, 0))
WANTED = GOAL.data
HELD = dict.fromkeys(WANTED, (FIELD_MANAGER,))
MASTER = Answer("10.42.0.5", "master", "run-0", True)
REPLICA = Answer("10.42.0.6", "replica", "run-1", False, "READONLY You can't write against a read only replica.")
SURVEY = Survey(
    (
        Pod("redis-0", HOST, replication=Replication("master", "run-0", 1, connected_replicas=1)),
        Pod("redis-1", HOST.replace("-0", "-1"), replication=Replication("replica", "run-1", 1, link="up")),
    ),
    (Service("redis", "redis.jewelry-shop.svc.cluster.local", 6379, ("redis-0", "redis-1"), (MASTER,)),),
)


def reason(url: str | None, *answers: Answer) -> str:
    found = {**WANTED, "CELERY_BROKER_URL": url} if url is not None else {}
    plan = make_plan(GOAL, {k: v for k, v in found.items() if v}, {url or "": answers}, SURVEY, HELD)
    assert plan.needed
    return next(problem for problem in plan.problems if problem.startswith("CELERY_BROKER_URL"))


def test_where_sentinels_are_wanted_the_form_is_told() -> None:
    goal = Goal("sentinel://s-0:26379/0;sentinel://s-1:26379/0", "s", 26379, Target(HOST, 6379, 0))
    plan = make_plan(goal, {"CELERY_BROKER_URL": "memory://"}, {}, SURVEY, {})
    (problem,) = (one for one in plan.problems if one.startswith("CELERY_BROKER_URL"))
    assert problem.endswith("of the form sentinel://host:port/database;sentinel://host:port/database;...")


def test_the_wanted_url_has_no_credentials() -> None:
    assert WANTED["CELERY_BROKER_URL"] == WANTED["CELERY_RESULT_BACKEND"] == f"redis://{HOST}:6379/0"
    assert (WANTED["REDIS_HOST"], WANTED["REDIS_PORT"]) == (HOST, "6379")


def test_nothing_to_do() -> None:
    plan = make_plan(GOAL, {**WANTED, "OTHER": "x"}, {}, SURVEY, HELD)
    assert (plan.needed, plan.problems) == (False, [])
    assert plan.diff["before"] == plan.diff["after"] == WANTED


@pytest.mark.parametrize(
    ("url", "answers", "words"),
    [
        (None, (), "was not set"),
        ("memory://", (), "it is not a URL of the form"),
        ("redis://host:many/0", (), "it is not a URL of the form"),
        (
            "redis://redis:6379/0",
            (MASTER, REPLICA, REPLICA),
            "it balances: 2 of 3 new connections reached a replica (READ",
        ),
        ("redis://redis-1:6379/0", (REPLICA, REPLICA), "all 2 new connections reached a replica"),
        (
            "redis://absent:6379/0",
            (Answer("-", error="the name does not resolve"),),
            "none of 1 new connections was answered",
        ),
        (f"redis://{HOST}:6379/3", (MASTER,), "database 3 is not the wanted 0"),
        ("redis://redis:6379/0", (MASTER, MASTER), "Service redis selects replicas too"),
        ("redis://10.42.0.5:6379/0", (MASTER,), "is not the name that always does"),
        (f"redis://:pw@{HOST}:6379/0", (MASTER,), "credentials do not belong in a ConfigMap"),
        (
            f"redis://{HOST}:6379/1",
            (Answer("-", "master", "run-0", False, "MISCONF"),),
            "a write was refused (MISCONF)",
        ),
    ],
)
def test_why_a_url_is_wrong(url: str | None, answers: tuple[Answer, ...], words: str) -> None:
    assert words in reason(url, *answers)


def test_credentials_are_never_shown() -> None:
    found = {**WANTED, "CELERY_BROKER_URL": f"redis://user:hid/den@{HOST}:6379/0"}
    plan = make_plan(GOAL, found, {}, SURVEY, HELD)
    assert "den@" not in str(plan.problems) + str(plan.diff)
    assert redacted("redis://u:p@h/0") == "redis://(credentials)@h/0"


def test_a_right_value_held_by_somebody_else_is_taken_over() -> None:
    plan = make_plan(GOAL, WANTED, {}, SURVEY, {**HELD, "REDIS_PORT": ("kubectl-edit",)})
    assert plan.needed
    assert plan.problems == [f"REDIS_PORT is right but was not held by {FIELD_MANAGER}"]


def test_the_writer_is_named() -> None:
    owners = owners_of(
        {
            "managedFields": [
                {"manager": "celeryops", "operation": "Apply", "fieldsV1": {"f:data": {".": {}, "f:SENTRY_DSN": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "fieldsV1": {"f:data": {"f:CELERY_BROKER_URL": {}}}},
                {"manager": "kubelet", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
            ]
        }
    )
    assert owners == {"SENTRY_DSN": ("celeryops",), "CELERY_BROKER_URL": ("kubectl-edit",)}
    found = {**WANTED, "CELERY_BROKER_URL": "redis://redis:6379/0"}
    plan = make_plan(GOAL, found, {"redis://redis:6379/0": (REPLICA,)}, SURVEY, {**HELD, **owners})
    assert plan.problems[0].endswith("(written by kubectl-edit)")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("redis://redis", Target("redis", 6379, 0)),
        ("redis://redis:7000/5", Target("redis", 7000, 5)),
        ("rediss://redis:6379/0", None),
        ("redis://:6379/0", None),
        ("redis://redis/db", None),
        ("", None),
        (None, None),
    ],
)
def test_where_a_url_leads(url: str | None, target: Target | None) -> None:
    assert target_of(url) == target


def test_with_tls_a_url_without_it_is_not_asked_and_the_form_is_told() -> None:
    trust = "?ssl_cert_reqs=required&ssl_ca_certs=/etc/redis-tls/ca.crt"
    goal = Goal(f"rediss://{HOST}:6379/0{trust}", HOST, 6379, Target(HOST, 6379, 0))
    assert target_of(goal.url, scheme_of(goal.url)) == goal.target
    assert scheme_of(GOAL.url) == "redis"
    assert target_of(GOAL.url, scheme_of(goal.url)) is None
    faults = make_plan(goal, WANTED, {}, SURVEY, HELD).problems
    assert faults[0] == f"CELERY_BROKER_URL was {GOAL.url}: it is not a URL of the form rediss://host:port/database"
