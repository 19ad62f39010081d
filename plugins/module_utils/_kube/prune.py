# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deletes what has left a set, and keeps the record of where its members are."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .applyset import PROTECTED, ApplySet, Scope
from .client import Api, KubeError
from .compare import unchanged
from .items import Item, outcome
from .order import rank
from .resources import Json, Key, Resource, key_of
from .snapshot import Snapshot

__all__ = ["Pruner"]


class Pruner:
    """One run over one set. `parent` and `items` hold the outcome at any time, also after an error.

    `also` names protected objects that may be deleted all the same, as `Namespace NAME` and
    `PersistentVolumeClaim NAMESPACE/NAME`.
    """

    def __init__(self, api: Api, apply_set: ApplySet, also: Collection[str], *, check: bool) -> None:
        self._api = api
        self._set = apply_set
        self._also = frozenset(also)
        self._check = check
        self._wanted = Scope()
        self._before = Scope()
        self.parent = Item(apply_set.parent(Scope(), None))
        self.items: list[Item] = []

    # Reading

    def read(self, wanted: Collection[Item], snapshot: Snapshot, *, force: bool) -> None:
        """Finds the parent and the members that are not wanted any more. With `force` takes members of other sets."""
        for item in wanted:
            if not force:
                self._set.refuse_foreign(item.live)
        self._wanted = Scope.of(item.wanted for item in wanted)
        self.parent.live = self._api.get(self.parent.ref)
        self._before = self._set.scope(self.parent.live)
        stay = {item.key for item in wanted} | {self.parent.key}
        versions = {(item.key.group, item.key.kind): item.ref.api_version for item in wanted}
        found: dict[Key, Json] = {}
        for group, kind in self._before.kinds:
            resource = self._resource(group, kind, versions)
            # What is not served now may be again: the kind stays on record, as its objects may.
            for namespace in self._namespaces(resource) if resource else ():
                listed = snapshot.whole(group, kind, namespace)
                if listed is None and resource:
                    listed = self._api.list(resource.api_version, kind, namespace or None, self._set.selector)
                found.update({key_of(obj): obj for obj in listed or () if self._set.is_member(obj)})
        self.items = [Item(obj, live=obj) for key, obj in found.items() if key not in stay and not _is_leaving(obj)]
        self.items.sort(key=lambda item: (rank(item.key.kind), item.key), reverse=True)

    def _resource(self, group: str, kind: str, versions: dict[tuple[str, str], str]) -> Resource | None:
        if (group, kind) in versions:
            return self._api.find_resource(versions[group, kind], kind)
        return self._api.find_kind(group, kind)

    def _namespaces(self, resource: Resource) -> Iterable[str]:
        return sorted(self._before.namespaces) if resource.namespaced else ("",)

    # Writing

    def widen(self) -> None:
        """Before members are written: whatever happens then, all of them will be found."""
        if not self._check:
            self._record(self._before | self._wanted)

    def delete(self, kinds: Collection[str] | None = None) -> None:
        """Deletes what has left, of all kinds or of these."""
        for item in self.items:
            if item.action != "pending" or (kinds is not None and item.key.kind not in kinds):
                continue
            if self._stays(item):
                item.action = "kept"
                continue
            try:
                there = self._api.delete(item.ref, uid=item.wanted["metadata"]["uid"], dry_run=self._check)
            except KubeError:
                item.action = "failed"
                raise
            item.action = "deleted" if there else "absent"

    def leave(self) -> list[Json]:
        """What is to be deleted together with the whole set; what stays in spite of that is in `kept`."""
        for item in self.kept:
            item.action = "kept"
        return [item.wanted for item in self.items if not self._stays(item)]

    @property
    def kept(self) -> list[Item]:
        return [item for item in self.items if self._stays(item)]

    def _stays(self, item: Item) -> bool:
        return (item.key.group, item.key.kind) in PROTECTED and str(item.key) not in self._also

    def dissolve(self) -> None:
        """After all members are gone: the parent goes too, unless something was kept."""
        self._wanted = Scope()
        if self.kept:
            self.narrow()
            return
        live = self.parent.live
        there = live is not None and self._api.delete(self.parent.ref, uid=live["metadata"]["uid"], dry_run=self._check)
        self.parent.action = "deleted" if there else "absent"

    def narrow(self) -> None:
        """After everything that left is gone: members are where the set is, and where something was kept."""
        kept = [item.live for item in self.items if item.live and item.action == "kept"]
        unserved = {pair for pair in self._before.kinds if self._resource(*pair, {}) is None}
        self._record(self._wanted | Scope.of(kept) | Scope(frozenset(unserved)))

    def _record(self, scope: Scope) -> None:
        parent = self.parent
        parent.wanted = self._set.parent(scope, parent.live)
        now = parent.after or parent.live
        if now is None or not unchanged(parent.wanted, now, self._set.field_manager):
            try:
                parent.after = self._api.apply(
                    parent.wanted, field_manager=self._set.field_manager, force=True, dry_run=self._check
                )
            except KubeError as error:
                missing = (error.body.get("details") or {}).get("kind") == "namespaces"
                if not (self._check and error.not_found and missing):
                    parent.action = "failed"
                    raise
                # Its namespace is only planned.
                parent.after, parent.planned_on = parent.wanted, "client"
        parent.after = parent.after or parent.live
        parent.action = outcome(parent, self._set.field_manager)


def _is_leaving(obj: Json) -> bool:
    """Whether somebody has deleted it already, or its owner decides about it.

    Controllers copy labels to what they make, such as those of a Service to its EndpointSlices.
    """
    metadata = obj["metadata"]
    owned = any(owner.get("controller") for owner in metadata.get("ownerReferences") or [])
    return owned or bool(metadata.get("deletionTimestamp"))
