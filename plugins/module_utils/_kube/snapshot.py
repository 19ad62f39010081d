# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The live objects that a run is about, read with few requests, and what pods may read of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from .client import Api
from .items import Item
from .resources import Json, Key, ObjectRef

__all__ = ["Snapshot"]


class Snapshot:
    """What was read, and what was written since."""

    def __init__(self, api: Api) -> None:
        self._api = api
        # Kinds of a namespace that were read as a whole: (group, kind, namespace).
        self._whole: dict[tuple[str, str, str], dict[str, Json]] = {}
        self._single: dict[Key, Json | None] = {}

    def read(self, items: Iterable[Item], *, whole: bool) -> None:
        """Fills in `live`: a request per kind and namespace. With `whole` never of one object only."""
        groups: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
        for item in items:
            groups[item.ref.api_version, item.key.kind, item.key.namespace].append(item)
        for (version, kind, namespace), members in groups.items():
            if len(members) == 1 and not whole:
                members[0].live = self._api.get(members[0].ref)
                continue
            live = {obj["metadata"]["name"]: obj for obj in self._api.list(version, kind, namespace or None)}
            self._whole[members[0].key.group, kind, namespace] = live
            for item in members:
                item.live = live.get(item.key.name)

    def whole(self, group: str, kind: str, namespace: str) -> list[Json] | None:
        """All objects of a kind in a namespace as they were read, or None where not all of them were."""
        found = self._whole.get((group, kind, namespace))
        return None if found is None else list(found.values())

    def put(self, key: Key, obj: Json | None) -> None:
        """Notes an object as it is, or is going to be."""
        self._single[key] = obj

    def config(self, kind: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        """A ConfigMap or Secret that pods may read."""
        key = Key("", kind, namespace, name)
        if key not in self._single:
            listed = self._whole.get(("", kind, namespace))
            self._single[key] = (
                self._api.get(ObjectRef("v1", kind, name, namespace)) if listed is None else listed.get(name)
            )
        return self._single[key]
