# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of role redis held against each other; the defaults are read from the role."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._redis.settings import conflicts, redis_size

ROLE = Path(__file__).parents[5] / "roles" / "redis"
DEFAULTS = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text(encoding="utf-8"))
NAMES = yaml.safe_load((ROLE / "vars" / "main.yml").read_text(encoding="utf-8"))["__redis_settings"]
SETTINGS = {name: DEFAULTS[f"redis_{name}"] for name in NAMES}


def memory(limit: str) -> dict[str, Any]:
    return {"requests": {"cpu": "1", "memory": limit}, "limits": {"cpu": "1", "memory": limit}}


def found(**changes: Any) -> list[str]:
    return [f"{one.expected}; {one.found}; {one.remedy}" for one in conflicts({**SETTINGS, **changes})]


@pytest.mark.parametrize("mode", ["proxy", "sentinel", "master"])
def test_the_defaults_hold_together(mode: str) -> None:
    assert found(mode=mode) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"maxmemory_percent": 9}, "between 10 and 80"),
        ({"maxmemory_percent": 81}, "between 10 and 80"),
        ({"resources": {"requests": {"cpu": "1"}}}, "redis_resources.limits.memory, from which"),
        ({"repl_backlog_size": "a lot"}, "a size as Redis writes it"),
        (
            {"resources": memory("128Mi"), "maxmemory_percent": 80},
            "32 MiB of the memory limit beside the data, for a slow replica (16 MiB) and the process; 26 MiB of 128",
        ),
        ({"repl_backlog_size": "65mb"}, "redis_repl_backlog_size of at most 64 MiB"),
        ({"mode": "master", "replicas": 0}, "at least one pod"),
        ({"min_replicas_to_write": 3}, "below redis_replicas, one of which is the master; 3 of 3"),
        ({"min_replicas_to_write": 2}, "with one pod lost; 2 with 3 pods"),
        ({"min_replicas_to_write": 1, "min_replicas_max_lag": 0}, "0 switches the rule off"),
        ({"sentinel_replicas": 2}, "half of them is no majority; redis_sentinel_replicas 2"),
        ({"sentinel_replicas": 1}, "three or more"),
        ({"replicas": 1}, "a replica that can be promoted, in mode proxy"),
        ({"sentinel_down_after": 0.5}, "a Sentinel asks once a second"),
        ({"sentinel_failover_timeout": 3}, "redis_sentinel_failover_timeout above redis_sentinel_down_after (3 s)"),
        ({"master_patience": 2}, "redis_master_patience above redis_sentinel_down_after"),
        ({"proxy_replicas": 0}, "a proxy in mode proxy"),
        (
            {"proxy_max_connections": 5000},
            "177 MiB in redis_proxy_resources.limits.memory for 5000",
        ),
        ({"mode": "external"}, "redis_external.host in mode external; none"),
        ({"mode": "external", "external": {"host": "r", "ca": "PEM"}}, "redis_external.ca without it"),
        ({"mode": "external", "external": {"host": "r"}, "tls_secret": "tls"}, "no redis_tls_secret in mode external"),
    ],
)
def test_what_does_not_hold_together_is_told(changes: dict[str, Any], words: str) -> None:
    (one,) = found(**changes)
    assert words in one


def test_what_a_mode_does_not_use_is_not_looked_at() -> None:
    assert found(mode="master", sentinel_replicas=0, proxy_replicas=0, replicas=1) == []
    assert found(mode="sentinel", proxy_replicas=0) == []
    assert found(mode="external", external={"host": "r", "tls": True, "ca": "PEM"}, replicas=0) == []


@pytest.mark.parametrize(
    ("text", "size"),
    [("16mb", 16 * 2**20), ("16M", 16 * 10**6), ("1 gb", 2**30), (1024, 1024), ("16mib", None), ("", None)],
)
def test_sizes_as_redis_reads_them(text: object, size: int | None) -> None:
    assert redis_size(text) == size
