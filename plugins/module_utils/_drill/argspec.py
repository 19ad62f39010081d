# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of celery_drill, beside those of a cluster and of workers."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.budget import KINDS
from ansible_collections.celeryops.platform.plugins.module_utils._redis.argspec import CLIENT_ARGS, REDIS_ARGS

__all__ = ["DRILL_ARGS"]

_WHOLE = ("lost", "run_twice", "commits_lost", "replica_writes")
_SECONDS = ("elsewhere", "redis_gap", "postgresql_gap", "node_gap")

DRILL_ARGS: dict[str, Any] = {
    "allowed": {"type": "bool", "required": True},
    "drill": {"type": "str", "choices": list(KINDS), "required": True},
    "repetitions": {"type": "int", "default": 1},
    "tasks": {"type": "int", "default": 60},
    "task": {"type": "str", "required": True},
    "argument": {"type": "str", "default": "hold"},
    "queue": {"type": "str", "default": ""},
    "shortest": {"type": "float", "default": 0.1},
    "longest": {"type": "float", "default": 30},
    "redis": {
        "type": "dict",
        "options": {
            **{name: spec for name, spec in REDIS_ARGS.items() if name != "namespace"},
            "proxy": CLIENT_ARGS["proxy"],
        },
    },
    "postgresql": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "role": {"type": "str", "required": True},
            "secret": {"type": "str", "required": True, "no_log": False},
            "host": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 5432},
        },
    },
    "nodes": {"type": "list", "elements": "str", "default": []},
    "outage": {"type": "float", "default": 90},
    "budget": {
        "type": "dict",
        "options": {**{name: {"type": "int"} for name in _WHOLE}, **{name: {"type": "float"} for name in _SECONDS}},
    },
    "timeout": {"type": "float", "default": 300},
    "drain": {"type": "float", "default": 300},
}
