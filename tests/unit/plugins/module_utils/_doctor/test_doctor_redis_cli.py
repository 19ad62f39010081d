# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where redis-cli is looked for, and what it is told where a broker's URL speaks of TLS."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.visits import redis_pods, trust_of


def pod(*environment: dict[str, str]) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "init"}, {"name": "redis", "env": list(environment)}]}}


def test_the_role_s_own_pods_know_the_authority() -> None:
    of_role = pod({"name": "POD_NAME"}, {"name": "REDIS_TLS", "value": "/etc/redis-tls"})
    assert trust_of(of_role) == ("--tls", "--cacert", "/etc/redis-tls/ca.crt")


def test_others_do_not() -> None:
    assert trust_of(pod({"name": "POD_NAME"})) == ("--tls", "--insecure")


def running(name: str, container: str, image: str, **labels: str) -> dict[str, Any]:
    status = {"containerStatuses": [{"name": container, "image": image, "state": {"running": {}}}]}
    return {"metadata": {"name": name, "labels": labels}, "status": status}


def test_a_proxy_before_redis_is_asked_first_and_has_none() -> None:
    raw = {
        "Pod": [
            running("redis-0", "redis", "shop/redis:7", app="redis"),
            running("redis-1", "redis", "shop/redis:7", app="redis"),
            running("proxy-a", "haproxy", "shop/haproxy:2", app="proxy"),
            running("worker-a", "worker", "shop/app:1", app="worker"),
        ],
        "Service": [{"metadata": {"name": "redis-master"}, "spec": {"selector": {"app": "proxy"}}}],
    }
    found = redis_pods(raw, ["redis-master.shop.svc.cluster.local"])
    assert found == [("proxy-a", "haproxy"), ("redis-0", "redis")]
    assert redis_pods(raw, ["elsewhere"]) == [("redis-0", "redis")]
    assert redis_pods({"Pod": raw["Pod"][2:]}, ["elsewhere"]) == []
