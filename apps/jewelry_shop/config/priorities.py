"""Priorities as people declare them, and as Redis serves them.

People declare 0 to 10 and mean 10 as the most urgent. Redis serves 0 first and knows 0 to 9. One rule
translates, for every producer: `redis = min(9, 10 - declared)`. It keeps 1 to 10 apart; 0 and 1 share the
last list, the one loss there has to be. Ten steps, not kombu's default four, because those would put
declared 10, 9 and 8 into one list and so serve them in order of arrival.
"""

MOST_URGENT = 10
"""The highest priority that can be declared."""

DEFAULT = 5
"""What a task without a declared priority gets; kombu alone would give it the most urgent."""

STEPS = tuple(range(10))
"""kombu's `priority_steps`: one Redis list per step, `queue` for 0 and `queue\\x06\\x16n` for n."""


def redis_priority(declared: int) -> int:
    """The broker priority (0 first, 9 last) of a declared one (10 first, 0 last)."""
    if isinstance(declared, bool) or not isinstance(declared, int) or not 0 <= declared <= MOST_URGENT:
        raise ValueError(f"priority {declared!r}: expected an integer from 0 (can wait) to 10 (most urgent)")
    return min(STEPS[-1], MOST_URGENT - declared)
