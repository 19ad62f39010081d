# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of a writer's records."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import FAILOVER, IN_PLACE
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill import round_of

READONLY = "READONLY You can't write against a read only replica."
ANSWER: dict[str, Any] = {
    "acknowledged": [(1, 10.0), (2, 10.1), (3, 10.25), (6, 14.5), (7, 14.6)],
    "errors": [(10.3, "ConnectionError: closed by the other side"), (14.4, READONLY), (14.55, READONLY)],
    "kept": [1, 2, 6, 7],
}


def test_a_round() -> None:
    one = round_of("redis-0", ("redis-0", "redis-1"), 10.2, ANSWER)
    # What was on its way when the master was killed is answered after it; the silence that follows is the gap.
    assert one.gap == pytest.approx(4.25)
    assert (one.began, one.ended) == (10.25, 14.5)
    assert (one.acknowledged, one.lost, one.kind) == (5, 1, FAILOVER)
    assert (one.replica, one.replica_steady) == (2, 1)
    assert one.errors == {"ConnectionError": 1, "READONLY": 2}
    assert one.report()["reached_a_replica_steady"] == 1


def test_a_master_that_never_came_back() -> None:
    one = round_of("redis-0", ("redis-0", "redis-0"), 20.0, {**ANSWER, "errors": []})
    assert (one.gap, one.began, one.kind) == (None, None, IN_PLACE)


def test_who_else_was_hit_makes_no_failover() -> None:
    one = round_of("redis-sentinel-1", ("redis-0", "redis-0"), 10.0, {**ANSWER, "errors": []})
    assert (one.victim, one.kind) == ("redis-sentinel-1", IN_PLACE)
