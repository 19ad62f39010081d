# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Cron fields: whatever is accepted means to Celery what it means here, and Celery refuses nothing of it."""

from __future__ import annotations

import pytest
from celery.schedules import crontab, crontab_parser
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._beat import cron

NAMES = sorted(cron.FIELDS)


def celerys(name: str, text: str) -> set[int]:
    """What Celery makes of a field; raises ValueError or ParseException."""
    field = cron.FIELDS[name]
    return crontab._expand_cronspec(text, field.high - field.low + 1, field.low)


@st.composite
def written(draw: st.DrawFn) -> tuple[str, str, bool]:
    """A field by the grammar, its text, and whether its numbers are in their bounds."""
    name = draw(st.sampled_from(NAMES))
    field = cron.FIELDS[name]
    good = True

    def number(low: int, high: int) -> str:
        nonlocal good
        value = draw(st.integers(max(low - 1, 0), high + 2))
        good = good and low <= value <= high
        return str(value).zfill(draw(st.sampled_from([1, 2])))

    def value() -> str:
        if field.names and draw(st.booleans()):
            word = draw(st.sampled_from(sorted(field.names)))
            return draw(st.sampled_from([word, word.upper(), word.title()]))
        return number(field.low, field.high)

    def part() -> str:
        kind = draw(st.sampled_from(["star", "value", "range"]))
        text = {"star": lambda: "*", "value": value, "range": lambda: f"{value()}-{value()}"}[kind]()
        if kind != "value" and draw(st.booleans()):
            text += f"/{number(1, field.high)}"
        return text

    return name, ",".join(part() for _ in range(draw(st.integers(1, 3)))), good


@given(written())
def test_a_field_by_the_grammar_is_read_as_celery_reads_it(case: tuple[str, str, bool]) -> None:
    name, text, good = case
    if good:
        assert cron.expand(name, text) == celerys(name, text)
    else:
        with pytest.raises(ValueError):
            cron.expand(name, text)


@given(st.sampled_from(NAMES), st.text(alphabet="0123456789*-/,. ajnmosuL#?", min_size=1, max_size=8))
def test_whatever_is_accepted_celery_accepts_and_reads_alike(name: str, text: str) -> None:
    try:
        values = cron.expand(name, text)
    except ValueError:
        return
    assert values == celerys(name, text)


@given(st.sampled_from(NAMES), st.text(max_size=8))
def test_whatever_celery_refuses_is_refused(name: str, text: str) -> None:
    try:
        celerys(name, text)
    except (ValueError, crontab_parser.ParseException):
        with pytest.raises(ValueError):
            cron.expand(name, text)


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("minute", "60", "not within 0 to 59"),
        ("minute", "*/90", "a step of 1 to 59"),
        ("minute", "*/0", "a step of 1 to 59"),
        ("minute", "5/10", "5-59/10"),
        ("minute", "jan", "no value of minute"),
        ("minute", "1-5/2/3", "is none of"),
        ("minute", "", "is none of"),
        ("minute", "1,", "is none of"),
        ("minute", "-1", "is none of"),
        ("hour", "24", "not within 0 to 23"),
        ("day_of_month", "0", "not within 1 to 31"),
        ("day_of_month", "L", "no value of day_of_month"),
        ("month_of_year", "13", "not within 1 to 12"),
        ("month_of_year", "mon", "no value of month_of_year"),
        ("day_of_week", "7", "Sunday is 0 or sun"),
        ("day_of_week", "monkey", "no value of day_of_week"),
        ("day_of_week", "٣", "is none of"),
        ("minute", ",".join(["59"] * 100), "the database holds 240"),
    ],
)
def test_a_bad_field_is_refused_with_what_to_write(name: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        cron.expand(name, text)


def test_a_range_may_go_over_the_end() -> None:
    assert cron.expand("day_of_week", "fri-mon") == {5, 6, 0, 1}
    assert cron.expand("hour", "22-2/2") == {22, 0, 2}


def test_a_line_has_five_fields() -> None:
    assert cron.split(" 30  4 * * mon ") == {
        "minute": "30",
        "hour": "4",
        "day_of_month": "*",
        "month_of_year": "*",
        "day_of_week": "mon",
    }
    for line in ("* * * *", "* * * * * *", "@daily", ""):
        with pytest.raises(ValueError, match="instead of 5"):
            cron.split(line)


@given(st.frozensets(st.integers(1, 31), min_size=1), st.frozensets(st.integers(1, 12), min_size=1))
def test_a_day_that_no_month_has_is_never_due(days: frozenset[int], months: frozenset[int]) -> None:
    exists = any(day <= cron.LENGTHS[month - 1] for day in days for month in months)
    assert cron.never_due(days, months) is not exists
