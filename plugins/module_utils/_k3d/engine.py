# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe, plan, apply: brings a k3d cluster to its declaration, or removes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._k3d.cli import K3d
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import Declared
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.plan import (
    drift,
    plan_absent,
    plan_present,
    validate,
)

__all__ = ["converge"]


def converge(declared: Declared, params: Mapping[str, Any], *, check: bool, result: dict[str, Any]) -> None:
    """Fills `result` step by step. `params` are the options K3D_ARGS, with state and recreate."""
    k3d = K3d(params["k3d"], params["docker"], params["timeout"])
    validate(declared)
    found = k3d.observe(declared.name)
    if found is not None:
        result["nodes"] = [{"name": n.name, "role": n.role, "running": n.running} for n in found.nodes]
    if params["state"] == "absent":
        actions = plan_absent(declared.name, found)
    else:
        result["drift"] = [] if found is None else [vars(one) for one in drift(declared, found)]
        actions = plan_present(declared, found, recreate=params["recreate"])
    for action in actions:
        if not check:
            k3d.apply(action, declared)
        result["changed"] = True
        result["actions"].append(str(action))
        result["diff"]["after"] += f"{action}\n"
