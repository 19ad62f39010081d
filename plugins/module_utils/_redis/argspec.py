# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options that say which Redis is meant; doc fragment ``celeryops.platform.redis``."""

from __future__ import annotations

from typing import Any

__all__ = ["CLIENT_ARGS", "REDIS_ARGS"]

REDIS_ARGS: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "statefulset": {"type": "str", "default": "redis"},
    "port": {"type": "int", "default": 6379},
    "password_secret": {
        "type": "dict",
        "apply_defaults": True,
        "no_log": False,
        "options": {
            "name": {"type": "str", "default": "redis-auth"},
            "key": {"type": "str", "default": "password", "no_log": False},
        },
    },
    "sentinel": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "statefulset": {"type": "str", "default": "redis-sentinel"},
            "port": {"type": "int", "default": 26379},
            "master_name": {"type": "str", "default": "mymaster"},
        },
    },
    "cluster_domain": {"type": "str", "default": "cluster.local"},
    "timeout": {"type": "int", "default": 3},
}
# How a client is imitated; the fragment's part ``celeryops.platform.redis.client``.
CLIENT_ARGS: dict[str, Any] = {
    "proxy": {
        "type": "dict",
        "apply_defaults": True,
        "options": {
            "deployment": {"type": "str", "default": "redis-proxy"},
            "service": {"type": "str", "default": "redis-master"},
            "status_port": {"type": "int", "default": 8404},
        },
    },
    "external": {
        "type": "dict",
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "tls": {"type": "bool", "default": False},
            "verify_certificate": {"type": "bool", "default": True},
            "ca": {"type": "str", "default": ""},
            "ca_file": {"type": "str", "default": ""},
            "username": {"type": "str", "default": ""},
            "image": {"type": "str", "required": True},
        },
    },
    "connections": {"type": "int", "default": 12},
}
