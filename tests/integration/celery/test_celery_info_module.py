# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""celery_info without a cluster, without workers, and with arguments that make no sense."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module

ARGS: dict[str, Any] = {"namespace": "shop", "app": "config"}
NOTHING: dict[str, Any] = {"changed": False, "workers": [], "pools": [], "tasks": [], "queues": [], "broker": {}}


@pytest.mark.parametrize("check", [True, False])
def test_without_a_cluster_the_result_keeps_its_shape(tmp_path: Path, check: bool) -> None:
    result = run_module("celery_info", {**ARGS, "kubeconfig": str(tmp_path / "kubeconfig")}, check=check)
    assert result["failed"] is True
    assert {name: result[name] for name in NOTHING} == NOTHING
    assert result["error"]["remedy"]


def test_namespace_without_workers(kube_module: Callable[..., dict[str, Any]], namespace: str) -> None:
    result = kube_module("celery_info", {**ARGS, "namespace": namespace})
    assert result["failed"] is True
    assert "There are no such workers" in result["msg"]
    assert {name: result[name] for name in NOTHING} == NOTHING


@pytest.mark.parametrize(
    ("args", "reason"),
    [({"namespace": "shop"}, "app"), ({**ARGS, "timeout": "soon"}, "timeout"), ({**ARGS, "worker": "x"}, "worker")],
)
def test_bad_arguments_are_named(args: dict[str, Any], reason: str) -> None:
    result = run_module("celery_info", args)
    assert result["failed"] is True
    assert reason in result["msg"]
