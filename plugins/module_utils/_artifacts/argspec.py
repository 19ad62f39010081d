# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the action ``artifacts``."""

from __future__ import annotations

from typing import Any

__all__ = ["ARTIFACTS_ARGS"]

ARTIFACTS_ARGS: dict[str, dict[str, Any]] = {
    "names": {"type": "list", "elements": "str", "required": True},
    "catalogue": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True, "choices": ["go", "base", "image"]},
            "source": {"type": "path"},
            "module": {"type": "str"},
            "binaries": {"type": "list", "elements": "str"},
            "ldflags": {"type": "list", "elements": "str"},
            "rename": {"type": "dict"},
            "check": {"type": "list", "elements": "str"},
            "suite": {"type": "str"},
            "packages": {"type": "list", "elements": "str"},
            "variant": {"type": "str"},
            "options": {"type": "list", "elements": "str"},
            "refresh": {"type": "str"},
            "base": {"type": "str"},
            "tag": {"type": "str"},
            "version_of": {"type": "str"},
            "arguments": {"type": "dict"},
        },
    },
    "cache_dir": {"type": "path", "required": True},
    "repository": {"type": "str", "default": "localhost/celeryops"},
    "go_wheel": {
        "type": "dict",
        "required": True,
        "options": {
            "project": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "sha256": {"type": "list", "elements": "str", "required": True},
        },
    },
    "python": {"type": "path", "required": True},
    "jobs": {"type": "int", "default": 2},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
