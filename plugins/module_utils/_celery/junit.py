# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks as JUnit XML, which any CI shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._markup import attribute, content

__all__ = ["junit"]


def junit(suite: str, checks: Sequence[Mapping[str, Any]]) -> str:
    """One test case for each check; one that could not be made is skipped."""
    failed = sum(check["passed"] is False for check in checks)
    skipped = sum(check["passed"] is None for check in checks)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        f'<testsuite name={attribute(suite)} tests="{len(checks)}" failures="{failed}" errors="0" skipped="{skipped}">',
    ]
    for check in checks:
        lines.append(f"  <testcase classname={attribute(suite)} name={attribute(check['name'])}>")
        if check["passed"] is None:
            lines.append(f"    <skipped message={attribute(check['evidence'])}/>")
        elif check["passed"]:
            lines.append(f"    <system-out>{content(check['evidence'])}</system-out>")
        else:
            remedy = content(f"remedy: {check.get('remedy') or 'none'}")
            lines.append(f"    <failure message={attribute(check['evidence'])}>{remedy}</failure>")
        lines.append("  </testcase>")
    return "\n".join([*lines, "</testsuite>", ""])
