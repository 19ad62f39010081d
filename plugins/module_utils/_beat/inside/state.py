# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What migrations and schedule would have to do, asked in one go: the application is imported once."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import migrations, schedule

__all__ = ["main"]

Json = dict[str, Any]


def main(request: Json) -> Json:
    """Request: those of both programs, as `migrations` and `schedule`. Answer: theirs in check mode; `schedule` is
    None where migrations are pending, because its tables may change by them."""
    pending = migrations.main({**request["migrations"], "check": True})
    if not migrations.settled(pending):
        return {"migrations": pending, "schedule": None}
    return {"migrations": pending, "schedule": schedule.main({**request["schedule"], "check": True})}
