# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module of the collection for real: its own process, JSON arguments in, JSON result out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["ROOT", "run_module"]

ROOT = Path(__file__).resolve().parents[2]


def run_module(
    name: str, args: Mapping[str, Any], *, check: bool = False, diff: bool = False, timeout: float = 300
) -> dict[str, Any]:
    """The result of a module; `failed` is in it when the module failed.

    Fails the test when the process ended without a result, or when the result's `failed` and its exit status disagree.
    """
    options = {"_ansible_check_mode": check, "_ansible_diff": diff, "_ansible_remote_tmp": "/tmp"}  # noqa: S108
    done = subprocess.run(
        [sys.executable, str(ROOT / "plugins/modules" / f"{name}.py")],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**args, **options}}),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
    )
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(f"{name} gave no result:\n{done.stdout}\n{done.stderr}") from None
    assert bool(result.get("failed")) == (done.returncode != 0), done.stdout
    return result
