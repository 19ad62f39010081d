# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as they may be shown: values of Secrets are replaced. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .compare import Change, meaningful

__all__ = ["redacted_changes", "shown"]

_DATA = ("data", "stringData", "binaryData")


def shown(
    obj: Mapping[str, Any] | None, other: Mapping[str, Any] | None = None, *, label: str = "redacted"
) -> dict[str, Any]:
    """What a diff may show of an object; `label` stands where a Secret's value differs from the `other`'s."""
    clean = meaningful(obj)
    if clean.get("kind") != "Secret":
        return clean
    for field in _DATA:
        values = clean.get(field)
        if values:
            theirs = (other or {}).get(field) or {}
            clean[field] = {
                key: "<redacted>" if theirs.get(key) == value else f"<{label}>" for key, value in values.items()
            }
    return clean


def redacted_changes(kind: str, found: Iterable[Change]) -> list[Change]:
    """Changes without the values of a Secret."""
    if kind != "Secret":
        return list(found)
    return [
        {key: "<redacted>" if key != "path" and value is not None else value for key, value in change.items()}
        if change["path"].partition(".")[0].partition("[")[0] in _DATA
        else change
        for change in found
    ]
