# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Crontab fields as Celery reads them: which values they stand for, or what is wrong with them.

Celery's own parser is generous: it ignores what follows a match (``1-5/2/3``), takes month names for
minutes, and turns ``*/90`` minutes into once an hour. Here all of that is refused. Whatever is accepted
means the same to Celery.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["FIELDS", "Field", "expand", "never_due", "split"]

MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
# The longest each month can be
LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
PART = re.compile(r"(?:(?P<star>\*)|(?P<first>[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?)(?:/(?P<step>[0-9]+))?")


@dataclass(frozen=True)
class Field:
    """One of the five: its least and greatest value, and the names that stand for values."""

    low: int
    high: int
    names: Mapping[str, int]
    # The database's columns have this many characters.
    length: int


def _names(words: tuple[str, ...], start: int) -> dict[str, int]:
    return {name: number for number, word in enumerate(words, start) for name in (word, word[:3])}


# In the order of a cron line
FIELDS: dict[str, Field] = {
    "minute": Field(0, 59, {}, 240),
    "hour": Field(0, 23, {}, 96),
    "day_of_month": Field(1, 31, {}, 124),
    "month_of_year": Field(1, 12, _names(MONTHS, 1), 64),
    "day_of_week": Field(0, 6, _names(DAYS, 0), 64),
}


def split(line: str) -> dict[str, str]:
    """The fields of a cron line such as ``0 2 * * *``; raises ValueError."""
    words = line.split()
    if len(words) != len(FIELDS):
        raise ValueError(f"{len(words)} fields instead of 5: minute hour day-of-month month day-of-week")
    return dict(zip(FIELDS, words, strict=True))


def expand(name: str, text: str) -> frozenset[int]:
    """The values that ``text`` stands for in the field ``name``; raises ValueError, with a remedy."""
    field = FIELDS[name]
    if len(text) > field.length:
        raise ValueError(f"{len(text)} characters; the database holds {field.length}")
    values: set[int] = set()
    for part in text.split(","):
        values.update(_part(field, name, part))
    return frozenset(values)


def _part(field: Field, name: str, part: str) -> list[int]:
    match = PART.fullmatch(part.lower())
    if match is None:
        raise ValueError(f"{part!r} is none of *, a value, a-b, */step, a-b/step")
    whole = list(range(field.low, field.high + 1))
    if match["star"]:
        values = whole
    else:
        first = _number(field, name, match["first"])
        last = _number(field, name, match["last"]) if match["last"] else first
        # fri-mon goes over the end, as it does in Celery.
        values = (
            list(range(first, last + 1))
            if first <= last
            else [*range(first, field.high + 1), *range(field.low, last + 1)]
        )
        if match["step"] and not match["last"]:
            raise ValueError(
                f"{part!r}: Celery steps through * or a range: {match['first']}-{field.high}/{match['step']}"
            )
    if match["step"]:
        step = int(match["step"])
        if not 1 <= step <= field.high:
            raise ValueError(f"{part!r}: a step of 1 to {field.high}, or the field would not step at all")
        values = values[::step]
    return values


def _number(field: Field, name: str, word: str) -> int:
    if word in field.names:
        return field.names[word]
    if not word.isdigit():
        raise ValueError(f"{word!r} is no value of {name}")
    number = int(word)
    if field.low <= number <= field.high:
        return number
    if name == "day_of_week" and number == 7:
        raise ValueError("7: Celery's Sunday is 0 or sun")
    raise ValueError(f"{number} is not within {field.low} to {field.high}")


def never_due(days: frozenset[int], months: frozenset[int]) -> bool:
    """Whether no month has any of the days, as in ``0 0 31 2 *``."""
    return all(min(days) > LENGTHS[month - 1] for month in months)
