# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnosis as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.summary import Line, hang

__all__ = ["render"]


def render(title: str, diagnosis: Mapping[str, Any], width: int) -> list[Line]:
    """Findings in their order, then what they leave unexplained, then what could not be looked at."""
    findings, unexplained = diagnosis["findings"], diagnosis["unexplained"]
    if not findings and not unexplained:
        lines = [Line(f"{title}: nothing found, {len(diagnosis['ruled_out'])} causes ruled out", "good")]
    else:
        count = f"{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        more = f", {len(unexplained)} of {len(diagnosis['symptoms'])} troubles unexplained" if unexplained else ""
        lines = [Line(f"{title}: {count}{more}", "bad")]
    for number, finding in enumerate(findings, start=1):
        lines += [Line(""), *_finding(number, finding, width)]
    if unexplained:
        lines += [Line(""), Line("Unexplained", "bad")]
        lines += [Line(text) for one in unexplained for text in hang(f"  {one['subject']}  ", one["text"], width)]
        lines += [Line(""), Line("Ruled out")]
        lines += [
            Line(text) for one in diagnosis["ruled_out"] for text in hang(f"  {one['cause']}  ", one["because"], width)
        ]
    if diagnosis["could_not_look"]:
        lines += [Line(""), Line("Could not look", "open")]
        lines += [
            Line(text, "open")
            for one in diagnosis["could_not_look"]
            for text in hang(f"  {one['what']}  ", one["because"], width)
        ]
    return lines


def _finding(number: int, finding: Mapping[str, Any], width: int) -> Iterator[Line]:
    for text in hang(f"  {number}. ", f"{finding['title']}  [{finding['cause']}, {finding['confidence']}]", width):
        yield Line(text, "bad")
    if finding["explains"]:
        yield from map(Line, hang("     explains  ", ", ".join(finding["explains"]), width))
    for one in finding["evidence"]:
        yield from map(Line, hang("     evidence  ", f"{one['source']}: {one['text']}", width))
    for text in hang("     → ", finding["remedy"], width):
        yield Line(text, "good")
