# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One object on its way from what is wanted to what is there, and how a result tells of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .compare import changes, meaningful, owned_fields
from .ownership import Claim
from .redact import redacted_changes, shown
from .resources import Json, Key, ObjectRef, key_of

__all__ = ["Item", "diff_sides", "outcome", "result_entry"]

# An object that was not reached, because one before it failed.
PENDING = "pending"


@dataclass(slots=True)
class Item:
    """`live` is the object before; `after` as it is then, or in check mode would be. `action` is one of pending,
    failed, created, configured, adopted, unchanged, deleted, absent, kept."""

    wanted: Json
    live: Json | None = None
    after: Json | None = None
    action: str = PENDING
    planned_on: str = "server"
    drift: list[Claim] = field(default_factory=list)
    # The version that a write goes by, and the number of replicas that are given away with it.
    seen: Json | None = None
    replicas: int | None = None

    @property
    def key(self) -> Key:
        return key_of(self.wanted)

    @property
    def ref(self) -> ObjectRef:
        return ObjectRef.of(self.wanted)

    @property
    def target(self) -> tuple[str, str, str]:
        """As an autoscaler refers to it: kind, namespace, name."""
        return self.key.kind, self.key.namespace, self.key.name

    @property
    def trial(self) -> Json:
        """What a dry run sends. Replicas that are given away stand in it with the value that they keep."""
        if self.replicas is None:
            return self.wanted
        return {**self.wanted, "spec": {**self.wanted["spec"], "replicas": self.replicas}}

    @property
    def changed(self) -> bool:
        return self.action in ("created", "configured", "adopted", "deleted")

    @property
    def rolled(self) -> bool:
        """Whether its spec changed, which makes a workload's controller look at its pods."""
        generations = [((obj or {}).get("metadata") or {}).get("generation") for obj in (self.live, self.after)]
        return self.changed and generations[0] != generations[1]


def outcome(item: Item, manager: str) -> str:
    """What has come of applying it: created, configured, adopted (only the record of whose fields are changed) or
    unchanged. Replicas that are to be given away are such a record."""
    if item.live is None:
        return "created"
    if meaningful(item.live) != meaningful(item.after):
        return "configured"
    mine = [owned_fields(obj, manager) for obj in (item.live, item.after)]
    return "unchanged" if mine[0] == mine[1] and item.replicas is None else "adopted"


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
