# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one exception root: what was expected, what was found, and what to do about it."""

from __future__ import annotations

from typing import Any

__all__ = ["CeleryOpsError"]


class CeleryOpsError(Exception):
    """A failure that a person can act upon. ``details`` are facts for a program; they hold no secret."""

    def __init__(
        self,
        message: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
        **details: Any,
    ) -> None:
        self.message = message
        self.expected = expected
        self.found = found
        self.remedy = remedy
        self.details = details
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.message]
        if self.expected is not None:
            parts.append(f"expected: {self.expected}")
        if self.found is not None:
            parts.append(f"found: {self.found}")
        if self.remedy is not None:
            parts.append(f"remedy: {self.remedy}")
        return "; ".join(parts)
