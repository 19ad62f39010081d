# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Removes a set of objects, in reverse order."""

from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .client import Api, KubeError
from .ending import await_end
from .items import Item
from .order import rank
from .resources import Json

__all__ = ["Remover"]


class Remover:
    """One run over one set. `items` hold the outcome at any time, also after an error."""

    def __init__(self, api: Api, objects: list[Json], *, check: bool) -> None:
        self._api = api
        self._check = check
        items = sorted((Item(wanted) for wanted in objects), key=lambda item: rank(item.key.kind))
        self.items = items[::-1]

    def run(self, wait_seconds: float | None, report: Report) -> None:
        """Deletes what is there; with `wait_seconds` returns when it is gone, and tells `report` what it waits for."""
        for item in self.items:
            try:
                self._remove(item)
            except KubeError:
                item.action = "failed"
                raise
        if wait_seconds is not None and not self._check:
            await_end(self._api, self.items, wait_seconds, report)

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
