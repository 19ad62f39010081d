# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an entry's task never runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.report import Known, ignored

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)
BEFORE, AFTER = "2026-01-10T11:59:59+00:00", "2026-01-10T12:00:01+00:00"
EVERY_MINUTE = {"interval": {"every": 1, "period": "minutes"}}


def row(**changes: Any) -> dict[str, Any]:
    return {
        "task": "shop.sell",
        "schedule": EVERY_MINUTE,
        "enabled": True,
        "one_off": False,
        "expires": None,
        "args": [],
        "kwargs": {},
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "runs", "reason"),
    [
        ({}, 7, None),
        ({"expires": AFTER}, 0, None),
        ({"one_off": True}, 0, None),
        # beat sends what it finds late at once.
        ({"one_off": True, "schedule": {"clocked": {"clocked_time": BEFORE}}}, 0, None),
        ({"enabled": False}, 0, "disabled"),
        ({"enabled": False, "one_off": True}, 0, "disabled"),
        (
            {"enabled": False, "one_off": True, "schedule": {"clocked": {"clocked_time": BEFORE}}},
            0,
            f"disabled, and its time was {BEFORE}",
        ),
        ({"enabled": False, "one_off": True, "schedule": {"clocked": {"clocked_time": AFTER}}}, 0, "disabled"),
        ({"one_off": True}, 1, "it comes once, and has run"),
        ({"expires": BEFORE}, 0, f"expired at {BEFORE}"),
        ({"schedule": None}, 0, "no schedule: beat ends at it when it starts"),
        ({"schedule": None, "enabled": False}, 0, "no schedule: beat ends at it when it starts"),
        ({"args": "[1"}, 0, "args or kwargs are no JSON: beat disables it"),
        ({"kwargs": "{1"}, 0, "args or kwargs are no JSON: beat disables it"),
        ({"task": "shop.buy"}, 0, "the application has no task 'shop.buy': workers refuse it"),
    ],
)
def test_reason(changes: dict[str, Any], runs: int, reason: str | None) -> None:
    assert ignored(row(**changes), Known(runs=runs), None, {"shop.sell"}, NOW) == reason


def test_what_is_declared_and_switched_off_has_run() -> None:
    """beat switches off what came once; nobody else did, or it would be declared so."""
    spent = row(enabled=False, one_off=True)
    assert ignored(spent, Known(), {"enabled": True}, {"shop.sell"}, NOW) == "it comes once, and has run"
    assert ignored(spent, Known(), {"enabled": False}, {"shop.sell"}, NOW) == "disabled"
