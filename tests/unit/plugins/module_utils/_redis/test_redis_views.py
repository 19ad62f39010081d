# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever takes another pod for the master is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import (
    Endpoints,
    Proxy,
    Sentinel,
    endpoint_faults,
    proxy_faults,
    routed,
    sentinel_faults,
)

HOST = "redis-1.redis-headless.shop.svc.cluster.local"
FACTS = {
    "name": "mymaster",
    "ip": f"{HOST}.",
    "port": "6379",
    "flags": "master",
    "num-slaves": "2",
    "num-other-sentinels": "2",
    "config-epoch": "7",
}
SENTINEL = Sentinel.of("redis-sentinel-0", True, FACTS)
PROXY = Proxy("redis-proxy-x", True, ("redis-1",), {"redis-0": 0, "redis-1": 3, "redis-2": 0}, "redis-1")


def of_sentinels(*changed: Sentinel, wanted: int = 3) -> list[str]:
    everyone = [*changed, *(SENTINEL for _ in range(3 - len(changed)))]
    return list(sentinel_faults(everyone, wanted, "redis-1", HOST, 2))


def test_sentinels_that_agree() -> None:
    assert Sentinel("redis-sentinel-0", True, HOST, ("master",), 7, 2, 2) == SENTINEL
    assert of_sentinels() == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"names": HOST.replace("1", "0")},
            "calls redis-0.redis-headless.shop.svc.cluster.local the master, redis-1 says",
        ),
        ({"names": ""}, "redis-sentinel-0 watches over no master"),
        ({"flags": ("master", "o_down", "s_down")}, "sees the master as o_down, s_down"),
        ({"others": 1}, "knows 1 of 2 other Sentinels"),
        ({"replicas": 1}, "knows 1 of 2 replicas"),
        ({"error": "refused"}, "gives no account of itself: refused"),
    ],
)
def test_a_sentinel_that_does_not(change: dict[str, object], words: str) -> None:
    (fault,) = of_sentinels(replace(SENTINEL, **change))  # type: ignore[arg-type]
    assert words in fault


def test_a_sentinel_that_is_missing() -> None:
    assert list(sentinel_faults([SENTINEL] * 2, 3, "redis-1", HOST, 2)) == ["2 of 3 Sentinels exist"]


def test_a_sentinel_that_watches_nothing_says_nothing_more() -> None:
    assert Sentinel.of("redis-sentinel-0", False, {}) == Sentinel("redis-sentinel-0")


@pytest.mark.parametrize(
    ("masters", "named", "leads"),
    [
        (("redis-1",), {"redis-0": 0, "redis-1": 3}, "redis-1"),
        (("redis-0", "redis-1"), {"redis-0": 1, "redis-1": 2}, "redis-1"),
        (("redis-0", "redis-1"), {"redis-0": 1, "redis-1": 1}, ""),
        (("redis-0",), {"redis-0": 0, "redis-1": 1}, "redis-0"),
        (("redis-0",), {"redis-0": 0, "redis-1": 2}, ""),
        ((), {"redis-0": 3, "redis-1": 0}, ""),
    ],
)
def test_where_a_proxy_leads(masters: tuple[str, ...], named: dict[str, int], leads: str) -> None:
    assert routed(masters, named, 2) == leads


@pytest.mark.parametrize(
    ("proxy", "words"),
    [
        (replace(PROXY, leads_to="redis-0"), "leads clients to redis-0, redis-1 says that it is the master"),
        (replace(PROXY, leads_to="", masters=("redis-1",)), "leads clients nowhere: it sees redis-1 as the master"),
        (replace(PROXY, leads_to="", masters=()), "it sees no pod as the master, and Sentinels name {'redis-0': 0"),
        (replace(PROXY, error="refused"), "gives no account of itself: refused"),
        (replace(PROXY, ready=False), "1 of 2 proxies are ready"),
    ],
)
def test_a_proxy_that_disagrees(proxy: Proxy, words: str) -> None:
    assert list(proxy_faults([PROXY, PROXY], 2, "redis-1")) == []
    (fault,) = proxy_faults([proxy, PROXY], 2, "redis-1")
    assert words in fault


@pytest.mark.parametrize(
    ("endpoints", "faults"),
    [
        (Endpoints("redis", ("redis-0", "redis-1"), ("redis-0", "redis-1")), []),
        (Endpoints("redis", ("redis-0",), ("redis-0", "redis-1")), ["does not lead to redis-1"]),
        (Endpoints("redis", ("redis-0", "redis-1"), ("redis-0",)), ["still leads to redis-1"]),
        (Endpoints("redis", (), ()), ["leads nowhere"]),
    ],
)
def test_endpoints_that_do_not_follow_the_pods(endpoints: Endpoints, faults: list[str]) -> None:
    found = list(endpoint_faults([endpoints]))
    assert len(found) == len(faults)
    assert all(word in fault for word, fault in zip(faults, found, strict=True))
