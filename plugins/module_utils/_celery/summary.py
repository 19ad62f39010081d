# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report that a person reads at the end of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Line", "hang", "render"]

_WORDS = {True: "passed", False: "FAILED", None: "open"}


@dataclass(frozen=True)
class Line:
    """Text and how it is meant: ``plain``, ``good``, ``bad`` or ``open``."""

    text: str
    tone: str = "plain"


def hang(lead: str, text: str, width: int) -> list[str]:
    """``lead`` once, the text beside it, its further lines under its first."""
    return textwrap.wrap(
        text,
        width=max(width, len(lead) + 40),
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [lead.rstrip()]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def render(
    title: str,
    checks: Sequence[Mapping[str, Any]],
    pods: Sequence[Mapping[str, Any]],
    commands: Sequence[Mapping[str, str]],
    width: int,
) -> list[Line]:
    """Checks with their evidence, where things run, what to try next."""
    passed = sum(check["passed"] is True for check in checks)
    tone = "bad" if any(check["passed"] is False for check in checks) else "good"
    waiting = sum(check["passed"] is None for check in checks)
    lines = [
        Line(f"{title}: {passed} of {len(checks)} checks passed" + (f", {waiting} open" if waiting else ""), tone),
        Line(""),
    ]
    column = max((len(check["name"]) for check in checks), default=0)
    for check in checks:
        tone = {True: "good", False: "bad", None: "open"}[check["passed"]]
        lead = f"  {_WORDS[check['passed']]:<6}  {check['name']:<{column}}  "
        lines += [Line(text, tone) for text in hang(lead, check["evidence"], width)]
        if check["passed"] is False and check.get("remedy"):
            lines += [Line(text, tone) for text in hang(" " * len(lead) + "→ ", check["remedy"], width)]
    if pods:
        rows = [("pod", "node", "ready", "restarts")]
        rows += [(p["name"], p["node"] or "-", "yes" if p["ready"] else "no", str(p["restarts"])) for p in pods]
        lines += [Line(""), Line("Where things run"), *map(Line, _table(rows))]
    if commands:
        lines += [Line(""), Line("To try next")]
        column = max(len(each["what"]) for each in commands)
        # A command is copied: it is never wrapped.
        lines += [Line(f"  {each['what']:<{column}}  {each['command']}") for each in commands]
    return lines
