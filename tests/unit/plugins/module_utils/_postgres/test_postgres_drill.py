# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a writer's log to figures."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import FAILOVER, IN_PLACE
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.drill import Gap, Seen, round_of, seen


def line(acknowledged: int, connections: int = 1, **more: Any) -> str:
    return "CELERYOPS-WRITER " + json.dumps({"acknowledged": acknowledged, "connections": connections, **more}) + "\n"


def test_what_a_writer_has_told() -> None:
    gap = {"from": 10.0, "to": 12.5, "attempts": 4, "errors": ["closed", "refused"]}
    log = line(5) + "a warning of the driver\n" + line(9, 2, gap=gap) + line(20, 2) + line(21, 2)[:30]
    assert seen(log) == Seen(20, 2, (Gap(10.0, 12.5, 4, ("closed", "refused")),))
    assert seen("") == Seen()


def test_a_gap_in_between_that_is_somebody_elses() -> None:
    gaps = [Gap(10, 14, 3, ("closed",)), Gap(40, 41.5, 1, ())]
    assert round_of("db-0", ("db-0", "db-1"), gaps, 500, 0).gap == 4.0


def test_several_gaps_of_one_failure_are_one() -> None:
    gaps = [Gap(10, 12, 3, ("closed", "refused")), Gap(12.5, 13, 2, ("read-only", "read-only"))]
    found = round_of("db-0", ("db-0", "db-1"), gaps, 500, 2)
    assert (found.gap, found.began, found.ended, found.kind, found.lost) == (3.0, 10, 13, FAILOVER, 2)
    assert found.errors == {"closed": 1, "refused": 1, "read-only": 2}


def test_nothing_was_disturbed() -> None:
    found = round_of("pooler-x", ("db-0", "db-0"), [], 500, 0)
    assert (found.gap, found.began, found.kind) == (0.0, None, IN_PLACE)
