# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Autoscaling of a pool by CPU: what is declared, made complete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["autoscaling"]

# Percent of the CPU request, averaged over the pods; seconds; pods per period.
FIELDS = {
    "cpu": 75,
    "scale_up_stabilization": 0,
    "scale_down_stabilization": 300,
    "scale_down_pods": 1,
    "scale_down_period": 60,
}


def autoscaling(pool: str, declared: Mapping[str, Any] | None, replicas: int) -> dict[str, int]:
    """Every field, with ``min`` and ``max``; empty without autoscaling. Raises CeleryOpsError for bounds that are none.

    The least number is that of the pool without autoscaling, unless it says another: an autoscaler takes an idle pool
    down to its minimum, and one pod is not what was sized.
    """
    if not declared:
        return {}
    found = {name: int(value) for name, value in {"min": replicas, **FIELDS, **declared}.items()}
    problems = [f"no field {name!r}" for name in sorted(set(found) - {"min", "max", *FIELDS})]
    if "max" not in found:
        problems.append("no max")
    elif found["max"] < found["min"]:
        problems.append(f"max {found['max']} below min {found['min']}")
    if found["min"] < 1:
        problems.append(f"min {found['min']}: an autoscaler that goes by CPU never leaves 0 again")
    problems += [f"{name} {found[name]}" for name in ("cpu", "scale_down_pods", "scale_down_period") if found[name] < 1]
    if problems:
        raise CeleryOpsError(
            f"Pool {pool!r} cannot be scaled like this",
            expected=f"1 <= min <= max, and of {', '.join(FIELDS)} positive whole numbers",
            found="; ".join(problems),
            remedy=f"Correct autoscale of pool {pool!r} in celery_worker_pools, or celery_worker_autoscale.",
        )
    return found
