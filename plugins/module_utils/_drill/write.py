# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of drills as files: a page, and beside it the same as JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.report import page
from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import passed, told
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["write"]


def write(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool) -> None:
    """Writes what differs. Raises CeleryOpsError for a path that cannot be written to, in check mode as well."""
    path = Path(params["path"])
    if path.suffix != ".html":
        raise _unwritable(path, "it does not end in .html")
    beside = path.with_suffix(".json")
    drills = told(params["drills"])
    whole = {"title": params["title"], "passed": passed(drills), "drills": drills}
    files = {
        path: page(params["title"], drills).encode(),
        beside: f"{json.dumps(whole, indent=2, sort_keys=True)}\n".encode(),
    }
    result.update(passed=whole["passed"], json_path=str(beside))
    try:
        stale = [file for file, text in files.items() if not file.exists() or file.read_bytes() != text]
        for file in stale:
            if not os.access(file if file.exists() else file.parent, os.W_OK):
                raise PermissionError(f"{file} cannot be written")
            if not check_mode:
                file.write_bytes(files[file])
    except OSError as problem:
        raise _unwritable(path, str(problem)) from problem
    result.update(changed=bool(stale))


def _unwritable(path: Path, problem: str) -> CeleryOpsError:
    return CeleryOpsError(
        "the report of the drills cannot be written",
        expected="the path of an HTML file in a folder that is there and may be written to",
        found=f"{path}: {problem}",
        remedy="correct drill_report_path",
    )
