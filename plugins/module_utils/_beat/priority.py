# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one rule between the priority that people declare and the one that the broker is given."""

from __future__ import annotations

__all__ = ["LEAST_URGENT", "MOST_URGENT", "redis_priority"]

MOST_URGENT = 10
LEAST_URGENT = 0
# kombu knows the Redis lists 0 to 9 and serves 0 first.
LAST_STEP = 9


def redis_priority(declared: int) -> int:
    """Redis's number, 0 first and 9 last, of a declared one, 10 first and 0 last; 1 and 0 share the last."""
    return min(LAST_STEP, MOST_URGENT - declared)
