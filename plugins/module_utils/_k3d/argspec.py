# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of module k3d_cluster, and the declaration that they make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import Declared, Registry, Scoped

__all__ = ["K3D_ARGS", "K3D_CLUSTER_ARGS", "declared"]

# The options of every module that speaks to k3d.
K3D_ARGS: dict[str, dict[str, Any]] = {
    "timeout": {"type": "int", "default": 300},
    "k3d": {"type": "path", "default": "k3d"},
    "docker": {"type": "path", "default": "docker"},
}


def _scoped(name: str, filters: list[str]) -> dict[str, Any]:
    options = {
        name: {"type": "str", "required": True},
        "node_filters": {"type": "list", "elements": "str", "default": filters},
    }
    return {"type": "list", "elements": "dict", "default": [], "options": options}


K3D_CLUSTER_ARGS: dict[str, dict[str, Any]] = {
    **K3D_ARGS,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "servers": {"type": "int", "default": 1},
    "agents": {"type": "int", "default": 0},
    "image": {"type": "str", "default": ""},
    "api_address": {"type": "str", "default": "127.0.0.1"},
    "api_port": {"type": "int", "default": 0},
    "ports": _scoped("port", ["loadbalancer"]),
    "volumes": _scoped("volume", ["server:*", "agent:*"]),
    "k3s_args": _scoped("arg", ["server:*"]),
    "registry": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "default": "127.0.0.1"},
            "port": {"type": "int", "required": True},
        },
    },
    "registries": {"type": "list", "elements": "str", "default": []},
    "recreate": {"type": "bool", "default": False},
}


def declared(params: Mapping[str, Any]) -> Declared:
    registry = params["registry"]
    return Declared(
        name=params["name"],
        servers=params["servers"],
        agents=params["agents"],
        image=params["image"],
        api_address=params["api_address"],
        api_port=params["api_port"],
        ports=tuple(Scoped(one["port"], tuple(one["node_filters"])) for one in params["ports"]),
        volumes=tuple(Scoped(one["volume"], tuple(one["node_filters"])) for one in params["volumes"]),
        args=tuple(Scoped(one["arg"], tuple(one["node_filters"])) for one in params["k3s_args"]),
        registry=Registry(registry["name"], registry["address"], registry["port"]) if registry else None,
        registries=tuple(params["registries"]),
    )
