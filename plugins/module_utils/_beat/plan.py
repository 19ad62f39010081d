# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What must become of the rows so that they say what was declared."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

__all__ = ["Change", "plan", "shown"]

Json = dict[str, Any]
UNSET = ("null", '""', "[]", "{}", "false")
# Celery makes this entry itself, whenever beat starts.
CELERYS_OWN = ("celery.backend_cleanup",)


@dataclass(frozen=True)
class Change:
    """One entry: ``action`` is create, update, delete or unchanged; ``fields`` are those that differ."""

    name: str
    action: str
    fields: tuple[str, ...]
    before: Json | None
    after: Json | None


def plan(declared: dict[str, Json], present: dict[str, Json], prune: bool = False) -> list[Change]:
    """Changes in the order of ``declared``. What is only in ``present`` belongs to somebody else, or is pruned."""
    changes = []
    for name, after in declared.items():
        before = present.get(name)
        if before is None:
            changes.append(Change(name, "create", tuple(after), None, after))
            continue
        # Compared as JSON: to Python 1, 1.0 and True are equal.
        fields = tuple(key for key in after if _json(before.get(key)) != _json(after[key]))
        if fields == ("enabled",) and before.get("one_off") and after.get("one_off") and after["enabled"]:
            # It has run: beat disables what comes once. Enabling it would run it again with every play.
            fields = ()
        changes.append(Change(name, "update" if fields else "unchanged", fields, before, after))
    if prune:
        changes += [
            Change(name, "delete", tuple(before), before, None)
            for name, before in sorted(present.items())
            if name not in declared and name not in CELERYS_OWN
        ]
    return changes


def shown(change: Change) -> Json:
    """For a person, as Ansible's diff mode takes it: only what differs, of a whole entry only what is set."""
    header = f"schedule entry {change.name}"
    lines = {"before": "", "after": ""}
    whole = change.before if change.after is None else change.after if change.before is None else None
    fields = [field for field in change.fields if whole is None or _json(whole[field]) not in UNSET]
    for side, row in (("before", change.before), ("after", change.after)):
        if row is not None:
            lines[side] = "".join(f"{field}: {_json(row.get(field))}\n" for field in fields)
    return {"before_header": header, "after_header": header, **lines}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
