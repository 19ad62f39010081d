# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of beat's pods acts: the Deployment says which Lease they elect it by, the Lease who it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["acting", "lease_of", "standing", "take_turns"]

Json = dict[str, Any]
# What the pods of role celery_beat are told it by, as namespace/name
VARIABLE = "CELERYOPS_LEASE"


def lease_of(beat: Json | None) -> str | None:
    """The name of the Lease, in the Deployment's namespace; None where nobody is elected."""
    for container in beat["spec"]["template"]["spec"]["containers"] if beat else []:
        for entry in container.get("env") or []:
            if entry["name"] == VARIABLE and entry.get("value"):
                return str(entry["value"]).rpartition("/")[2]
    return None


def take_turns(container: Mapping[str, Any]) -> bool:
    """Whether an election (role celery_beat) or a lock (redbeat) lets one of several act: the others stand by."""
    elects = any(one["name"] == VARIABLE and one.get("value") for one in container.get("env") or ())
    words = " ".join(map(str, (*(container.get("command") or ()), *(container.get("args") or ()))))
    return elects or "redbeat" in words.lower()


def acting(lease: Json | None, pods: Iterable[Json]) -> str | None:
    """The name of the pod that holds the Lease; None where nobody does, or one that is not there any more."""
    holder = str(((lease or {}).get("spec") or {}).get("holderIdentity") or "").rpartition("_")[0]
    names = [str(pod["metadata"]["name"]) for pod in pods]
    return holder if holder in names else None


def standing(lease: Json | None, pods: Iterable[Json]) -> str:
    """Who acts and who stands by, in words."""
    pods = list(pods)
    one = acting(lease, pods)
    if one is None:
        holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
        return f"none of {len(pods)} acts: the Lease " + (f"is held by {holder}" if holder else "is held by nobody")
    return f"{one} acts, {len(pods) - 1} stand by"
