# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits until deleted objects are gone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable

from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .client import Api, KubeError
from .items import Item
from .streams import Streams

__all__ = ["await_end"]

# What takes no longer is not worth a line.
_QUIET_SECONDS = 1.5


def await_end(api: Api, items: Iterable[Item], seconds: float, report: Report) -> None:
    """Returns when every deleted object is gone; fills in what is still there as `after`.

    `report` is called with a line for what takes its time, and for each change of what holds it.
    """
    left = [item for item in items if item.live is not None and item.action in ("deleted", "absent")]
    if not left:
        return
    began = time.monotonic()
    streams = Streams(api)
    try:
        _follow(streams, left)
        told: dict[str, str] = {}
        while True:
            left = [item for item in left if _is_there(streams, item)]
            waited = time.monotonic() - began
            if not left:
                return
            if waited > seconds:
                raise _not_gone(left, seconds)
            if waited > _QUIET_SECONDS:
                _tell(left, told, report)
            streams.wait((seconds if waited > _QUIET_SECONDS else min(_QUIET_SECONDS, seconds)) - waited)
    finally:
        streams.close()


def _follow(streams: Streams, items: list[Item]) -> None:
    groups: dict[tuple[str, str, str], list[Item]] = defaultdict(list)
    for item in items:
        groups[item.ref.api_version, item.key.kind, item.key.namespace].append(item)
    for (version, kind, namespace), members in groups.items():
        streams.follow(version, kind, namespace, members[0].key.name if len(members) == 1 else None)


def _is_there(streams: Streams, item: Item) -> bool:
    found = streams.objects(item.ref.api_version, item.key.kind, item.key.namespace)
    if found is None:
        return True
    item.after = found.get(item.key.name)
    # An object of the same name that somebody made since is another one.
    return bool(item.after and item.live and item.after["metadata"]["uid"] == item.live["metadata"]["uid"])


def _tell(left: list[Item], told: dict[str, str], report: Report) -> None:
    for item in left:
        held = _held(item)
        if told.get(str(item.key)) != held:
            told[str(item.key)] = held
            report(f"{item.key}: being deleted, {held}")


def _held(item: Item) -> str:
    finalizers = ((item.after or {}).get("metadata") or {}).get("finalizers") or []
    return f"held by {', '.join(finalizers)}" if finalizers else "no finalizer holds it"


def _not_gone(left: list[Item], seconds: float) -> KubeError:
    return KubeError(
        "objects are not gone",
        expected=f"the end of all deleted objects within {seconds:g} s",
        found="; ".join(f"{item.key}: {_held(item)}" for item in left),
        remedy="whatever set these finalizers has to remove them; see that its controller runs",
    )
