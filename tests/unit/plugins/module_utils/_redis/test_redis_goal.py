# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What clients are told in each mode; Celery itself reads the URLs."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
from kombu.utils.url import parse_url

from ansible_collections.celeryops.platform.plugins.module_utils._redis.external import client_options
from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import MODES, external_goal, goal_of
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Target

PARAMS: dict[str, Any] = {
    "namespace": "shop",
    "cluster_domain": "cluster.local",
    "database": 2,
    "port": 6379,
    "proxy": {"service": "redis-master"},
    "sentinel": {"port": 26379, "master_name": "mymaster"},
}
MASTER = "redis-1.redis-headless.shop.svc.cluster.local"
SENTINELS = tuple(f"redis-sentinel-{number}.redis-sentinel.shop.svc.cluster.local" for number in range(3))
EXTERNAL: dict[str, Any] = {
    "host": "redis.example.com",
    "port": 6380,
    "tls": False,
    "verify_certificate": True,
    "ca": "",
    "ca_file": "",
    "username": "",
}


def test_the_proxy_has_one_name_whoever_is_the_master() -> None:
    goal = goal_of({**PARAMS, "mode": "proxy"}, MASTER, SENTINELS)
    host = "redis-master.shop.svc.cluster.local"
    assert goal.data == {
        "REDIS_HOST": host,
        "REDIS_PORT": "6379",
        "CELERY_BROKER_URL": f"redis://{host}:6379/2",
        "CELERY_RESULT_BACKEND": f"redis://{host}:6379/2",
    }
    assert goal.target == Target(host, 6379, 2)


def test_the_fixed_name_is_the_masters() -> None:
    goal = goal_of({**PARAMS, "mode": "master"}, MASTER, ())
    assert (goal.url, goal.host, goal.target) == (f"redis://{MASTER}:6379/2", MASTER, Target(MASTER, 6379, 2))


def test_all_sentinels_are_named_and_the_master_is_proved() -> None:
    goal = goal_of({**PARAMS, "mode": "sentinel"}, MASTER, SENTINELS)
    parts = [parse_url(url) for url in goal.url.split(";")]
    assert [(part["transport"], part["hostname"], part["port"], part["virtual_host"]) for part in parts] == [
        ("sentinel", name, 26379, "2") for name in SENTINELS
    ]
    assert goal.target == Target(MASTER, 6379, 2)
    assert goal.data["REDIS_HOST"] == "redis-sentinel.shop.svc.cluster.local"
    assert (goal.data["REDIS_PORT"], goal.data["REDIS_SENTINEL_MASTER"]) == ("26379", "mymaster")


def test_with_tls_every_url_says_whom_to_trust() -> None:
    params = {**PARAMS, "ca_file": "/etc/redis-tls/ca.crt"}
    trust = "?ssl_cert_reqs=required&ssl_ca_certs=/etc/redis-tls/ca.crt"
    told = {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_ca_certs": "/etc/redis-tls/ca.crt"}
    urls = {mode: goal_of({**params, "mode": mode}, MASTER, SENTINELS, tls=True).url for mode in MODES[:3]}
    assert urls["proxy"] == f"rediss://redis-master.shop.svc.cluster.local:6379/2{trust}"
    assert urls["master"] == f"rediss://{MASTER}:6379/2{trust}"
    assert urls["sentinel"].split(";") == [f"sentinel://{name}:26379/2{trust}" for name in SENTINELS]
    for url in ";".join(urls.values()).split(";"):
        assert (parse_url(url)["virtual_host"], parse_url(url)["ssl"]) == ("2", told)


@pytest.mark.parametrize(
    ("external", "url", "options"),
    [
        ({}, "redis://redis.example.com:6380/2", []),
        ({"username": "shop"}, "redis://redis.example.com:6380/2", ["--user", "shop"]),
        (
            {"tls": True, "ca": "PEM", "ca_file": "/etc/ca file.pem"},
            "rediss://redis.example.com:6380/2?ssl_cert_reqs=required&ssl_ca_certs=/etc/ca%20file.pem",
            ["--tls", "--cacert", "/tmp/ca.pem", "--sni", "redis.example.com"],  # noqa: S108
        ),
        (
            {"tls": True, "verify_certificate": False},
            "rediss://redis.example.com:6380/2?ssl_cert_reqs=none",
            ["--tls", "--insecure", "--sni", "redis.example.com"],
        ),
    ],
)
def test_a_redis_of_ones_own(external: dict[str, Any], url: str, options: list[str]) -> None:
    goal = external_goal({"external": {**EXTERNAL, **external}, "database": 2})
    assert goal.url == url
    assert parse_url(goal.url)["hostname"] == "redis.example.com"
    assert goal.data.get("REDIS_USERNAME") == external.get("username")
    assert client_options({**EXTERNAL, **external}) == options
