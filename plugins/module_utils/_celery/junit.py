# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks as JUnit XML, which any CI shows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

__all__ = ["junit"]

# XML 1.0 has no way to write these.
_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(suite: str, checks: Sequence[Mapping[str, Any]]) -> str:
    """One test case for each check; one that could not be made is skipped."""
    failed = sum(check["passed"] is False for check in checks)
    skipped = sum(check["passed"] is None for check in checks)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuite name={_attribute(suite)} tests="{len(checks)}" failures="{failed}" errors="0" '
        f'skipped="{skipped}">',
    ]
    for check in checks:
        lines.append(f"  <testcase classname={_attribute(suite)} name={_attribute(check['name'])}>")
        if check["passed"] is None:
            lines.append(f"    <skipped message={_attribute(check['evidence'])}/>")
        elif check["passed"]:
            lines.append(f"    <system-out>{_text(check['evidence'])}</system-out>")
        else:
            remedy = _text(f"remedy: {check.get('remedy') or 'none'}")
            lines.append(f"    <failure message={_attribute(check['evidence'])}>{remedy}</failure>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])


def _text(value: str) -> str:
    return escape(_UNWRITABLE.sub("?", value))


def _attribute(value: str) -> str:
    return quoteattr(_UNWRITABLE.sub("?", value))
