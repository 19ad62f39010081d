# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs in the application's image are asked, from the options of the modules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import read

__all__ = ["MIGRATIONS_ARGS", "SCHEDULE_ARGS", "migrations", "schedule"]

Json = dict[str, Any]

MIGRATIONS_ARGS: Json = {
    "apps": {"type": "list", "elements": "str", "default": ["django_celery_beat"]},
    "database": {"type": "str"},
}
SCHEDULE_ARGS: Json = {
    "entries": {"type": "list", "elements": "raw", "required": True},
    "prune": {"type": "bool", "default": False},
    "timezone": {"type": "str"},
    "queues": {"type": "list", "elements": "str"},
    "priority_function": {"type": "str"},
    "database": {"type": "str"},
}


def migrations(params: Mapping[str, Any], *, check: bool) -> Json:
    """The request of inside/migrations.py."""
    return {**{key: params[key] for key in ("app", "apps", "database", "lock_timeout")}, "check": check}


def schedule(params: Mapping[str, Any], *, check: bool) -> Json:
    """The request of inside/schedule.py. Raises ScheduleError for entries that are wrong by themselves."""
    given = {key: params[key] for key in ("app", "queues", "priority_function", "database", "prune", "lock_timeout")}
    return {**given, "entries": read(params["entries"], params["timezone"]), "check": check}
