# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots from files: a platform that works, named fragments, and what a case changes of both.

Dictionaries are merged; lists of things with names are merged by name; ``null`` takes a key away. ``$only`` and
``$none`` put what follows, or nothing, in place of what was there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import FORMAT, Snapshot, read

DATA = Path(__file__).parent / "data"
HEALTHY = yaml.safe_load((DATA / "healthy.yaml").read_text(encoding="utf-8"))
FRAGMENTS = yaml.safe_load((DATA / "fragments.yaml").read_text(encoding="utf-8"))
CASES = [
    case for path in sorted(DATA.glob("cases/*.yaml")) for case in yaml.safe_load(path.read_text(encoding="utf-8"))
]


def identity(thing: Any) -> Any:
    """What makes an element of a list the same element; None for lists that are replaced as a whole."""
    if not isinstance(thing, dict):
        return None
    if "metadata" in thing:
        return thing["metadata"].get("name")
    if "previous" in thing:
        return thing["pod"], thing["container"], thing["previous"]
    return thing.get("name") or thing.get("pod") or thing.get("type")


def merged(base: Any, change: Any) -> Any:
    if isinstance(change, dict):
        if change.get("$none"):
            return {} if isinstance(base, dict) else []
        only = change.get("$only")
        found = dict(base) if isinstance(base, dict) and not only else {}
        for key, value in change.items():
            if key == "$only":
                continue
            if value is None and not isinstance(base, type(None)) and key != "error":
                found.pop(key, None)
            else:
                found[key] = merged(found.get(key), value)
        return found
    if (
        isinstance(change, list)
        and isinstance(base, list)
        and change
        and all(identity(one) for one in [*base, *change])
    ):
        result = {identity(one): one for one in base}
        for one in change:
            result[identity(one)] = merged(result.get(identity(one)), one)
        return list(result.values())
    return [merged(None, one) for one in change] if isinstance(change, list) else change


def snapshot(case: dict[str, Any]) -> Snapshot:
    data = HEALTHY
    gone: list[str] = []
    for change in (*(FRAGMENTS[name] for name in case.get("with", [])), case["change"]):
        gone += change.get("without", [])
        data = merged(data, {key: value for key, value in change.items() if key != "without"})
    data["objects"]["Pod"] = [one for one in data["objects"].get("Pod", []) if one["metadata"]["name"] not in gone]
    return read(json.dumps({"format": FORMAT, **data}), case.get("name", "a case"))
