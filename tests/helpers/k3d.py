# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of k3d's modules share: a cluster under a name of its own, that is gone afterwards."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from helpers.modules import ROOT, run_module

__all__ = ["IMAGE", "NEWER", "PROGRAMS", "STANDINS", "Result", "four_times", "k3d_cluster", "standin_state"]

Result = dict[str, Any]
STANDINS = ROOT / "tests/standins/k3d"
REAL = os.environ.get("CELERYOPS_K3D")
IMAGE = "docker.io/rancher/k3s:v1.34.1-k3s1"
NEWER = "docker.io/rancher/k3s:v1.35.5-k3s1"
PROGRAMS = {
    "k3d": REAL or str(STANDINS / "k3d-standin"),
    "docker": "docker" if REAL else str(STANDINS / "docker-standin"),
}


def standin_state(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-ins keep their containers; beside it `tmp`, an empty directory for temporary files."""
    monkeypatch.setenv("K3D_STANDIN_STATE", str(folder / "state.json"))
    (folder / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
    return folder / "state.json"


@contextmanager
def k3d_cluster() -> Iterator[Callable[..., Result]]:
    """Runs module k3d_cluster for one name."""
    name = f"t{uuid.uuid4().hex[:8]}"

    def run(check: bool = False, **options: Any) -> Result:
        return run_module("k3d_cluster", {"name": name, **PROGRAMS, **options}, check=check, diff=True)

    try:
        yield run
    finally:
        run(state="absent")


def four_times(run: Callable[..., Result], **options: Any) -> Result:
    """Check, apply, check, apply; the result of the first application."""
    results = [run(check=check, **options) for check in (True, False, True, False)]
    assert [one["changed"] for one in results] == [True, True, False, False], results
    assert not any(one.get("failed") for one in results), results
    assert results[0]["diff"] == results[1]["diff"]
    return results[1]
