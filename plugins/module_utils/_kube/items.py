# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object on its way from what is wanted to what is there, and how a result tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .compare import changes, meaningful
from .ownership import Claim
from .redact import redacted_changes, shown
from .resources import Json, Key, ObjectRef, key_of

__all__ = ["Item", "result_entry"]

# An object that was not reached, because one before it failed.
PENDING = "pending"


@dataclass(slots=True)
class Item:
    """`live` is the object before; `after` as it is then, or in check mode would be. `action` is one of pending,
    failed, created, configured, adopted, unchanged, deleted, absent."""

    wanted: Json
    live: Json | None = None
    after: Json | None = None
    action: str = PENDING
    planned_on: str = "server"
    drift: list[Claim] = field(default_factory=list)

    @property
    def key(self) -> Key:
        return key_of(self.wanted)

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef.of(self.wanted)

    @property
    def changed(self) -> bool:
        return self.action in ("created", "configured", "adopted", "deleted")

    @property
    def rolled(self) -> bool:
        """Whether its spec changed, which makes a workload's controller look at its pods."""
        generations = [((obj or {}).get("metadata") or {}).get("generation") for obj in (self.live, self.after)]
        return self.changed and generations[0] != generations[1]


def result_entry(item: Item) -> dict[str, Any]:
    """The item as it stands in a module's result."""
    found: list[dict[str, Any]] = []
    if item.action == "configured":
        # Compared before values are hidden, so that a changed Secret shows which of its keys changed.
        found = redacted_changes(item.key.kind, changes(meaningful(item.live), meaningful(item.after)))
    after = (item.after or {}).get("metadata") or {}
    return {
        "api_version": item.ref.api_version,
        "kind": item.ref.kind,
        "namespace": item.ref.namespace,
        "name": item.ref.name,
        "action": item.action,
        "planned_on": item.planned_on,
        "generation": after.get("generation"),
        "drift": [{"manager": claim.manager, "field": claim.field} for claim in item.drift],
        "diff": found,
    }


def diff_sides(item: Item) -> tuple[Json, Json]:
    """What a diff shows before and after."""
    before = shown(item.live, item.after, label="old value redacted") if item.live else {}
    after = shown(item.after, item.live, label="new value redacted") if item.after else {}
    return before, after
