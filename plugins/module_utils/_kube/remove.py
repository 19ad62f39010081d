# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes a set of objects, in reverse order."""

from __future__ import annotations

import time
from collections.abc import Iterable

from .client import Api, KubeError
from .items import Item
from .order import rank
from .resources import Json

__all__ = ["Remover", "await_end"]

_POLL_SECONDS = 0.2


class Remover:
    """One run over one set. `items` hold the outcome at any time, also after an error."""

    def __init__(self, api: Api, objects: list[Json], *, check: bool) -> None:
        self._api = api
        self._check = check
        items = sorted((Item(wanted) for wanted in objects), key=lambda item: rank(item.key.kind))
        self.items = items[::-1]

    def run(self, wait_seconds: float | None) -> None:
        """Deletes what is there; with `wait_seconds` returns when it is gone."""
        for item in self.items:
            try:
                self._remove(item)
            except KubeError:
                item.action = "failed"
                raise
        if wait_seconds is not None and not self._check:
            await_end(self._api, self.items, wait_seconds)

    def _remove(self, item: Item) -> None:
        # Where the kind is not served, there is no object of it.
        if self._api.find_resource(item.ref.api_version, item.ref.kind) is not None:
            item.live = self._api.get(item.ref)
        # What is on its way out already is not deleted once more.
        there = (
            item.live is not None
            and not item.live["metadata"].get("deletionTimestamp")
            and self._api.delete(item.ref, uid=item.live["metadata"]["uid"], dry_run=self._check)
        )
        item.action = "deleted" if there else "absent"


def await_end(api: Api, items: Iterable[Item], seconds: float) -> None:
    """Returns when every deleted object is gone; fills in what is still there as `after`."""
    deadline = time.monotonic() + seconds
    left = [item for item in items if item.live is not None and item.action in ("deleted", "absent")]
    while left:
        left = [item for item in left if _is_there(api, item)]
        if not left:
            return
        if time.monotonic() > deadline:
            held = [f"{item.key}: {', '.join(_finalizers(item)) or 'no finalizer'}" for item in left]
            raise KubeError(
                "objects are not gone",
                expected=f"the end of all deleted objects within {seconds:g} s",
                found=f"still held: {'; '.join(held)}",
                remedy="whatever set these finalizers has to remove them; see that its controller runs",
            )
        time.sleep(_POLL_SECONDS)


def _is_there(api: Api, item: Item) -> bool:
    item.after = api.get(item.ref)
    # An object of the same name that somebody made since is another one.
    return bool(item.after and item.live and item.after["metadata"]["uid"] == item.live["metadata"]["uid"])


def _finalizers(item: Item) -> list[str]:
    return list(((item.after or {}).get("metadata") or {}).get("finalizers") or [])
