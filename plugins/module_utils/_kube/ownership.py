# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a field is: drift that is put right, and conflicts that are not ours to decide. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Claim", "claims", "is_controller", "is_drift"]

_CAUSE = re.compile(r'conflict with "(?P<manager>[^"]+)"(?: with subresource "(?P<subresource>[^"]+)")?')
# Programs that write fields on purpose and would write them again.
_CONTROLLERS = re.compile(r"^(kube-|cloud-)|controller|operator|autoscaler|scaler|^vpa|^keda|^kubelet")


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody else's hold on a field that we want to set."""

    manager: str
    field: str
    subresource: str = ""

    def __str__(self) -> str:
        return f"{self.field} belongs to {self.manager}"


def claims(causes: Iterable[Mapping[str, str]]) -> list[Claim]:
    """The claims in a refused apply (causes of the server's Status); empty when it is another kind of conflict."""
    found = []
    for cause in causes:
        match = _CAUSE.search(cause.get("message", ""))
        if cause.get("reason") == "FieldManagerConflict" and match:
            found.append(Claim(match["manager"], cause.get("field", ""), match["subresource"] or ""))
    return found


def is_controller(manager: str) -> bool:
    """Whether the name is one of a program that writes again and again."""
    return bool(_CONTROLLERS.search(manager))


def is_drift(claim: Claim, live: Mapping[str, Any], manager: str) -> bool:
    """True when the claim stems from a single write (kubectl edit, patch, scale), which is not meant to last.

    A manager that applies the field, or a controller, holds it on purpose: that is a conflict. What `manager` itself
    applies is in nobody's way: under its name it is a single write of ours that is.
    """
    if is_controller(claim.manager):
        return False
    entries = [
        entry
        for entry in (live.get("metadata") or {}).get("managedFields") or []
        if entry.get("manager") == claim.manager
        and (entry.get("subresource") or "") == claim.subresource
        and (claim.manager, entry.get("operation")) != (manager, "Apply")
    ]
    return bool(entries) and all(entry.get("operation") == "Update" for entry in entries)
