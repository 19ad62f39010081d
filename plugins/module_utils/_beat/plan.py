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


@dataclass(frozen=True)
class Change:
    """One entry: ``action`` is create, update or unchanged; ``fields`` are those that differ."""

    name: str
    action: str
    fields: tuple[str, ...]
    before: Json | None
    after: Json


def plan(declared: dict[str, Json], present: dict[str, Json]) -> list[Change]:
    """Changes in the order of ``declared``. What is only in ``present`` belongs to somebody else."""
    changes = []
    for name, after in declared.items():
        before = present.get(name)
        if before is None:
            changes.append(Change(name, "create", tuple(after), None, after))
            continue
        # Compared as JSON: to Python 1, 1.0 and True are equal.
        fields = tuple(key for key in after if _json(before.get(key)) != _json(after[key]))
        changes.append(Change(name, "update" if fields else "unchanged", fields, before, after))
    return changes


def shown(change: Change) -> Json:
    """For a person, as Ansible's diff mode takes it: only what differs, of a new entry only what is set."""
    header = f"schedule entry {change.name}"
    lines = {"before": "", "after": ""}
    fields = [field for field in change.fields if change.before or _json(change.after[field]) not in UNSET]
    for side, row in (("before", change.before), ("after", change.after)):
        if row is not None:
            lines[side] = "".join(f"{field}: {_json(row.get(field))}\n" for field in fields)
    return {"before_header": header, "after_header": header, **lines}


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
