# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file that k3d makes a cluster from: k3d.io/v1alpha5, kind Simple. No I/O."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import SPEC_LABEL, Declared

__all__ = ["document", "text"]


def document(declared: Declared, timeout: int) -> dict[str, Any]:
    """The configuration as data; `timeout` is in seconds."""
    found: dict[str, Any] = {
        "apiVersion": "k3d.io/v1alpha5",
        "kind": "Simple",
        "metadata": {"name": declared.name},
        "servers": declared.servers,
        "agents": declared.agents,
        "kubeAPI": {"hostIP": declared.api_address},
        "ports": [{"port": one.value, "nodeFilters": list(one.filters)} for one in declared.ports],
        "volumes": [{"volume": one.value, "nodeFilters": list(one.filters)} for one in declared.volumes],
        "options": {
            "k3d": {"wait": True, "timeout": f"{timeout}s"},
            "k3s": {"extraArgs": [{"arg": one.value, "nodeFilters": list(one.filters)} for one in declared.args]},
            # Which contexts a kubeconfig holds is the business of module kubeconfig.
            "kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False},
            "runtime": {
                "labels": [
                    {
                        "label": f"{SPEC_LABEL}={json.dumps(declared.spec, sort_keys=True)}",
                        "nodeFilters": ["server:0"],
                    }
                ]
            },
        },
    }
    if declared.image:
        found["image"] = declared.image
    if declared.api_port:
        found["kubeAPI"]["hostPort"] = str(declared.api_port)
    registries: dict[str, Any] = {"use": list(declared.registries)} if declared.registries else {}
    if declared.registry:
        made = declared.registry
        registries["create"] = {"name": made.name, "host": made.address, "hostPort": str(made.port)}
    if registries:
        found["registries"] = registries
    return found


def text(declared: Declared, timeout: int) -> str:
    """The file. k3d replaces $NAME by environment variables before it parses; there is no `$` in it to replace."""
    return json.dumps(document(declared, timeout), indent=1, sort_keys=True).replace("$", "\\u0024") + "\n"
