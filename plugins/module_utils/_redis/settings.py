# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of role redis that would work against each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.quantity import parse_quantity

__all__ = ["BUFFER_SHARE", "Conflict", "conflicts", "redis_size"]

Settings = Mapping[str, Any]

# What start.sh lets one slow replica keep in memory beside the data: the limit divided by this.
BUFFER_SHARE = 8
_PROCESS = 16 * 2**20
_UNITS = {"": 1, "b": 1, "k": 10**3, "kb": 2**10, "m": 10**6, "mb": 2**20, "g": 10**9, "gb": 2**30}
# Two buffers of HAProxy's and what it remembers of a connection.
_PER_CONNECTION = 33 * 2**10


@dataclass(frozen=True)
class Conflict:
    """What was expected of the settings, what was found, and what to do."""

    expected: str
    found: str
    remedy: str


def redis_size(text: object) -> int | None:
    """Bytes, from Redis' own notation: 16mb is 16 MiB, 16m is 16 million; nothing for what is no size."""
    found = re.fullmatch(r"(\d+)\s*([kmg]?b?)", str(text).strip().lower())
    return int(found[1]) * _UNITS[found[2]] if found else None


def conflicts(settings: Settings) -> list[Conflict]:
    """All that does not hold together, in the mode that is chosen."""
    mode = settings["mode"]
    rules = [_external] if mode == "external" else [_memory, _replicas, _lag]
    rules += [_sentinels, _times, _one_lost] if mode in ("proxy", "sentinel") else []
    rules += [_proxy] if mode == "proxy" else []
    return [found for rule in rules for found in rule(settings)]


def _bytes(settings: Settings, key: str, part: str = "limits") -> int | None:
    resources = settings[key]
    amount = parse_quantity((resources.get(part) or {}).get("memory")) if isinstance(resources, Mapping) else None
    return int(amount) if amount is not None else None


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


def _memory(settings: Settings) -> Iterator[Conflict]:
    percent, limit = int(settings["maxmemory_percent"]), _bytes(settings, "resources")
    backlog = redis_size(settings["repl_backlog_size"])
    if not 10 <= percent <= 80:
        yield Conflict(
            "redis_maxmemory_percent between 10 and 80: a save copies what changes meanwhile, within the same limit",
            str(percent),
            "Correct redis_maxmemory_percent.",
        )
    if limit is None:
        yield Conflict(
            "redis_resources.limits.memory, from which the bound on data is computed",
            str(settings["resources"]),
            "Declare requests and limits.",
        )
        return
    if backlog is None:
        yield Conflict(
            "a size as Redis writes it, such as 16mb",
            str(settings["repl_backlog_size"]),
            "Correct redis_repl_backlog_size.",
        )
        return
    buffers = limit // BUFFER_SHARE
    rest, needed = limit - limit * percent // 100, buffers + _PROCESS
    if rest < needed:
        yield Conflict(
            f"{_mebibytes(needed)} of the memory limit beside the data, for a slow replica ({_mebibytes(buffers)}) "
            "and the process",
            f"{_mebibytes(rest)} of {_mebibytes(limit)} with redis_maxmemory_percent {percent}",
            "Lower redis_maxmemory_percent or raise redis_resources.limits.memory.",
        )
    if backlog > buffers:
        yield Conflict(
            f"redis_repl_backlog_size of at most {_mebibytes(buffers)}, an eighth of the memory limit",
            _mebibytes(backlog),
            "Lower redis_repl_backlog_size or raise redis_resources.limits.memory.",
        )


def _replicas(settings: Settings) -> Iterator[Conflict]:
    replicas, wanted = int(settings["replicas"]), int(settings["min_replicas_to_write"])
    if replicas < 1:
        yield Conflict("at least one pod", f"redis_replicas {replicas}", "Raise redis_replicas.")
    if wanted >= max(replicas, 1):
        yield Conflict(
            "redis_min_replicas_to_write below redis_replicas, one of which is the master",
            f"{wanted} of {replicas}",
            "Lower redis_min_replicas_to_write or raise redis_replicas.",
        )


def _lag(settings: Settings) -> Iterator[Conflict]:
    wanted, lag = int(settings["min_replicas_to_write"]), int(settings["min_replicas_max_lag"])
    if wanted > 0 and lag < 2:
        yield Conflict(
            "redis_min_replicas_max_lag of 2 s or more: replicas report once a second, and 0 switches the rule off",
            str(lag),
            "Raise redis_min_replicas_max_lag.",
        )


def _sentinels(settings: Settings) -> Iterator[Conflict]:
    sentinels, replicas = int(settings["sentinel_replicas"]), int(settings["replicas"])
    if sentinels < 3 or sentinels % 2 == 0:
        yield Conflict(
            "an odd number of Sentinels, three or more: half of them is no majority",
            f"redis_sentinel_replicas {sentinels}",
            "Correct redis_sentinel_replicas.",
        )
    if replicas < 2:
        yield Conflict(
            f"a replica that can be promoted, in mode {settings['mode']}",
            f"redis_replicas {replicas}",
            "Raise redis_replicas, or set redis_mode to master.",
        )


def _one_lost(settings: Settings) -> Iterator[Conflict]:
    replicas, wanted = int(settings["replicas"]), int(settings["min_replicas_to_write"])
    if 0 < wanted < replicas and wanted > replicas - 2:
        yield Conflict(
            "redis_min_replicas_to_write at most redis_replicas - 2, for a master that takes writes with one pod lost",
            f"{wanted} with {replicas} pods",
            "Lower redis_min_replicas_to_write or raise redis_replicas.",
        )


def _times(settings: Settings) -> Iterator[Conflict]:
    down, attempt = float(settings["sentinel_down_after"]), float(settings["sentinel_failover_timeout"])
    patience = float(settings["master_patience"])
    if down < 1:
        yield Conflict(
            "redis_sentinel_down_after of a second or more: a Sentinel asks once a second",
            f"{down:g}",
            "Raise redis_sentinel_down_after.",
        )
    for name, value in (("redis_sentinel_failover_timeout", attempt), ("redis_master_patience", patience)):
        if value <= down:
            yield Conflict(f"{name} above redis_sentinel_down_after ({down:g} s)", f"{value:g}", f"Raise {name}.")


def _proxy(settings: Settings) -> Iterator[Conflict]:
    replicas, connections = int(settings["proxy_replicas"]), int(settings["proxy_max_connections"])
    limit = _bytes(settings, "proxy_resources")
    if replicas < 1:
        yield Conflict(
            "a proxy in mode proxy",
            f"redis_proxy_replicas {replicas}",
            "Raise redis_proxy_replicas, or choose another redis_mode.",
        )
    needed = connections * _PER_CONNECTION + _PROCESS
    if limit is None or limit < needed:
        yield Conflict(
            f"{_mebibytes(needed)} in redis_proxy_resources.limits.memory for {connections} connections",
            "none" if limit is None else _mebibytes(limit),
            "Raise it, or lower redis_proxy_max_connections.",
        )


def _external(settings: Settings) -> Iterator[Conflict]:
    external = settings["external"]
    if not external.get("host"):
        yield Conflict("redis_external.host in mode external", "none", "Name the Redis, or choose another redis_mode.")
    if settings["tls_secret"]:
        yield Conflict(
            "no redis_tls_secret in mode external, where redis_external.tls says it",
            str(settings["tls_secret"]),
            "Leave it empty, or choose another redis_mode.",
        )
    needs_tls = [key for key in ("ca", "ca_file") if external.get(key)]
    if needs_tls and not external.get("tls"):
        yield Conflict(
            "redis_external.tls where there is a certificate to check",
            f"redis_external.{' and '.join(needs_tls)} without it",
            "Set redis_external.tls, or leave the certificate out.",
        )
