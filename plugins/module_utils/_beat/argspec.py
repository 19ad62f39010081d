# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that work inside the application's image; doc fragment ``app_pod``."""

from __future__ import annotations

from typing import Any

__all__ = ["APP_ARGS"]

APP_ARGS: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "image": {"type": "str", "required": True},
    "image_pull_policy": {
        "type": "str",
        "choices": ["IfNotPresent", "Always", "Never"],
        "default": "IfNotPresent",
    },
    "app": {"type": "str", "required": True},
    "python": {"type": "str", "default": "python"},
    "config_maps": {"type": "list", "elements": "str", "default": []},
    "secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},
    "env": {"type": "list", "elements": "dict", "default": []},
    "volumes": {"type": "list", "elements": "dict", "default": []},
    "volume_mounts": {"type": "list", "elements": "dict", "default": []},
    "pod_security_context": {"type": "dict", "default": {"runAsNonRoot": True, "runAsUser": 1000}},
    "security_context": {
        "type": "dict",
        "default": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    },
    "resources": {
        "type": "dict",
        "default": {
            "requests": {"cpu": "250m", "memory": "192Mi"},
            "limits": {"cpu": "500m", "memory": "384Mi"},
        },
    },
    "timeout": {"type": "float", "default": 300},
    "lock_timeout": {"type": "float", "default": 120},
}
