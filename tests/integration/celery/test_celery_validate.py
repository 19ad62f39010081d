# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery_validate on a machine that has no cluster yet, and with arguments that make no sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module

ARGS: dict[str, Any] = {"namespace": "shop", "app": "config", "queues": ["celery"]}


def test_fresh_machine(tmp_path: Path) -> None:
    args = {**ARGS, "kubeconfig": str(tmp_path / "kubeconfig")}
    planned = run_module("celery_validate", args, check=True)
    assert "failed" not in planned
    assert {check["passed"] for check in planned["checks"]} == {None}
    done = run_module("celery_validate", args)
    assert done["failed"] is True
    assert (done["passed"], done["checks"], done["pods"]) == (False, [], [])
    assert done["error"]["remedy"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"queues": None}, "queues"),
        ({"beat_timeout": "soon"}, "beat_timeout"),
        ({"worker_name": "x"}, "worker_name"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], reason: str) -> None:
    result = run_module("celery_validate", {**ARGS, **change})
    assert result["failed"] is True
    assert reason in result["msg"]
