# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts on sets of pods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer
from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import Replication
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Pod, Service, Survey, tally
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import Endpoints, Proxy, Sentinel

DOMAIN = "redis-headless.jewelry-shop.svc.cluster.local"
READONLY = "READONLY You can't write against a read only replica."


def pod(number: int, said: Replication | None, **more: object) -> Pod:
    may_write = said is not None and said.role == "master"
    answer = Answer(
        f"10.42.0.{number}", said.role if said else "", f"run-{number}", may_write, "" if may_write else READONLY
    )
    seen = Pod(
        f"redis-{number}", f"redis-{number}.{DOMAIN}", f"10.42.0.{number}", "worker-1", True, said, "", (answer,)
    )
    return replace(seen, **more)


def master(number: int = 0, replicas: int = 2) -> Pod:
    return pod(number, Replication("master", f"run-{number}", 100, connected_replicas=replicas))


def replica(number: int, of: str = f"redis-0.{DOMAIN}", link: str = "up", loading: bool = False) -> Pod:
    return pod(number, Replication("replica", f"run-{number}", 100, 0, loading, 0, of, 6379, link))


GROUP = (master(), replica(1), replica(2))


def test_one_master_that_all_follow_is_healthy() -> None:
    survey = Survey(GROUP, wanted_pods=3)
    assert (survey.verdict, survey.disagreements) == ("healthy", ())
    assert survey.report()["master"] == {"pod": "redis-0", "host": f"redis-0.{DOMAIN}"}


@pytest.mark.parametrize("name", [f"redis-0.{DOMAIN}", "redis-0.redis-headless", "10.42.0.0"])
def test_a_replica_may_know_its_master_by_any_of_its_names(name: str) -> None:
    assert Survey((master(0, 1), replica(1, of=name))).verdict == "healthy"


@pytest.mark.parametrize(
    ("pods", "verdict", "word"),
    [
        ((replica(1), replica(2)), "no_master", "no pod says that it is the master"),
        ((master(), master(1), replica(2)), "two_masters", "redis-0 (keys: 0), redis-1 (keys: 0)"),
        ((master(), replica(1), replica(2, link="down")), "degraded", "redis-2 has its link to the master down"),
        ((master(), replica(1), replica(2, link="down", loading=True)), "degraded", "redis-2 is loading its data"),
        ((master(), replica(1), replica(2, of="10.42.9.9")), "degraded", "redis-2 follows 10.42.9.9"),
        ((master(0, 1), replica(1), replica(2)), "degraded", "counts 1 connected replicas, the pods 2"),
        (
            (master(), replica(1), pod(2, None, error="refused")),
            "degraded",
            "redis-2 gives no account of itself: refused",
        ),
        ((pod(0, None, error="refused"), replica(1)), "no_master", "redis-0 gives no account of itself"),
        ((master(), replica(1)), "degraded", "2 of 3 pods exist"),
        ((), "no_master", "0 of 3 pods exist"),
    ],
)
def test_what_disagrees_is_said(pods: tuple[Pod, ...], verdict: str, word: str) -> None:
    survey = Survey(pods, wanted_pods=3)
    assert survey.verdict == verdict
    assert any(word in sentence for sentence in survey.disagreements), survey.disagreements


def test_a_master_that_refuses_writes_is_degraded() -> None:
    refusing = replace(master(), answers=(Answer("10.42.0.0", "master", "run-0", False, "NOREPLICAS Not enough"),))
    survey = Survey((refusing, replica(1), replica(2)))
    assert survey.verdict == "degraded"
    assert "NOREPLICAS" in survey.disagreements[0]


def test_nothing_there_is_absent_and_no_failure() -> None:
    assert Survey(()).report()["verdict"] == "absent"


def answers(*numbers: int) -> tuple[Answer, ...]:
    return tuple(answer for number in numbers for answer in GROUP[number].answers)


def test_answers_are_counted_by_role_and_pod() -> None:
    counted = tally((*answers(0, 1, 1, 2), Answer("10.42.0.9", error="refused")), GROUP)
    assert counted["connections"] == 5
    assert counted["answers"] == {"master": 1, "replica": 3, "none": 1}
    assert counted["pods"] == {"redis-0": 1, "redis-1": 2, "redis-2": 1}
    assert counted["writable"] is False
    assert counted["errors"] == [READONLY, "refused"]


def test_no_answers_are_not_writable() -> None:
    assert tally((), GROUP)["writable"] is False


def test_a_service_is_not_writable_by_luck() -> None:
    everything = Service(
        "redis", "redis.jewelry-shop.svc.cluster.local", 6379, ("redis-0", "redis-1"), answers(0, 0, 0)
    )
    only_master = replace(everything, pods=("redis-0",))
    survey = Survey(GROUP, (everything, only_master))
    assert [survey.writable(service) for service in survey.services] == [False, True]
    assert survey.verdict == "healthy"


def test_a_service_that_cannot_be_asked_is_a_disagreement() -> None:
    broken = Service(
        "metrics", "metrics.jewelry-shop.svc.cluster.local", 0, ("redis-0",), error="no port of it leads there"
    )
    survey = Survey(GROUP, (broken,))
    assert "Service metrics cannot be asked" in survey.disagreements[0]
    assert survey.report()["services"][0]["errors"] == ["no port of it leads there"]


def test_whoever_leads_clients_elsewhere_is_a_disagreement() -> None:
    sentinel = Sentinel("redis-sentinel-0", True, f"redis-1.{DOMAIN}", ("master",), 1, 2, 0)
    proxy = Proxy("redis-proxy-x", True, ("redis-1",), {}, "redis-1")
    endpoint = Endpoints("redis", ("redis-0",), ("redis-0", "redis-1"))
    led = Service("redis-master", "redis-master.shop", 6379, ("redis-proxy-x",), answers(0, 1), proxied=True)
    survey = Survey(GROUP, (led,), 3, (sentinel,), 1, (proxy,), 1, (endpoint,))
    assert survey.verdict == "degraded"
    assert [words.split(" ")[0] for words in survey.disagreements] == [
        "redis-sentinel-0",
        "redis-proxy-x",
        "Service",
        "Service",
    ]
    assert "{'master': 1, 'replica': 1, 'none': 0}" in survey.disagreements[-1]
    assert survey.report()["proxies"][0]["leads_to"] == "redis-1"
    assert replace(survey, services=(replace(led, answers=answers(0, 0)),)).report()["services"][0]["writable"] is True


@pytest.mark.parametrize(("who", "verdict"), [((0, 0), "healthy"), ((0, 1), "no_master"), ((), "no_master")])
def test_of_a_redis_outside_only_its_answers_count(who: tuple[int, ...], verdict: str) -> None:
    outside = Service("external", "redis.example.com", 6379, answers=answers(*who), proxied=True)
    survey = Survey((), (outside,), external=True)
    assert survey.verdict == verdict
    assert bool(survey.disagreements) is (verdict != "healthy")
