# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill may cost, and which of that a kind of drill is held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["KINDS", "Budget", "budget_of"]


@dataclass(frozen=True)
class Budget:
    """What is allowed; None is no limit. Gaps in seconds, of their 95th percentile.

    ``elsewhere``: seconds from a kill to the start elsewhere of what the victim ran. ``replica_writes``: writes that
    were led to a replica of Redis outside of a gap.
    """

    lost: int | None = 0
    run_twice: int | None = 0
    elsewhere: float | None = 60.0
    redis_gap: float | None = None
    postgresql_gap: float | None = None
    node_gap: float | None = None
    commits_lost: int | None = None
    replica_writes: int | None = None

    def told(self) -> dict[str, float]:
        """The limits that there are."""
        return {name: limit for name, limit in vars(self).items() if limit is not None}


_STRICT = Budget(redis_gap=10.0, postgresql_gap=20.0, node_gap=60.0, commits_lost=0, replica_writes=0)
_WORKERS = ("lost", "run_twice", "elsewhere")
# A worker whose broker connection is cut cancels what it runs and gives it back, so that it is run twice: that is told,
# and no fault. Nor are tasks limited that go with a master of Redis: its replication is asynchronous.
_REDIS = ("redis_gap", "replica_writes")
# Commits are, but for a cluster in which nobody waits for a replica.
_POSTGRESQL = ("lost", "run_twice", "postgresql_gap", "commits_lost")
KINDS: dict[str, tuple[str, ...]] = {
    "worker_kill": _WORKERS,
    "rolling_update": _WORKERS,
    "eviction": _WORKERS,
    "scale_in": _WORKERS,
    "redis_master_process": _REDIS,
    "redis_master_pod": _REDIS,
    "redis_sentinel_pod": ("lost", *_REDIS),
    "redis_proxy_pod": ("lost", *_REDIS),
    "postgresql_primary_process": _POSTGRESQL,
    "postgresql_primary_pod": _POSTGRESQL,
    "postgresql_primary_eviction": _POSTGRESQL,
    "postgresql_pooler_pod": _POSTGRESQL,
    "node_drain": ("lost",),
    "node_loss": ("lost", "node_gap", "commits_lost", "replica_writes"),
}


def budget_of(kind: str, given: Mapping[str, Any] | None) -> Budget:
    """What a kind is held to: the limits that are given, and the strict ones for what is left out."""
    named = {name: limit for name, limit in (given or {}).items() if limit is not None}
    strict = vars(_STRICT)
    return Budget(**{name: named.get(name, strict[name]) if name in KINDS[kind] else None for name in strict})
