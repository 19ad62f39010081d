# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When objects are done, and what pods tell of their trouble: data in data/wait.json and data/pods.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.pods import trouble_of
from ansible_collections.celeryops.platform.plugins.module_utils._kube.wait import progress_of, waits_for

DATA = Path(__file__).parent / "data"
API = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
}


def cases(name: str) -> list[Any]:
    loaded = json.loads((DATA / name).read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["case"]) for case in loaded]


@pytest.mark.parametrize("case", cases("wait.json"))
def test_progress(case: dict[str, Any]) -> None:
    obj = {
        "apiVersion": API.get(case["kind"], "v1"),
        "kind": case["kind"],
        "metadata": {"name": "x", "generation": case.get("generation", 1)},
        "spec": case.get("spec", {}),
        "status": case.get("status", {}),
    }
    progress = progress_of(obj)
    state = "done" if progress.done else "failed" if progress.failed else "busy"
    assert (state, progress.message) == (case["state"], case["message"])
    assert waits_for(obj) == (case["kind"] != "ConfigMap")


@pytest.mark.parametrize("case", cases("pods.json"))
def test_trouble(case: dict[str, Any]) -> None:
    trouble = trouble_of({"metadata": {"name": "web-0"}, "status": case["status"]})
    found = None if trouble is None else [trouble.reason, trouble.lasting, trouble.container, trouble.previous]
    assert found == case["trouble"]
    if trouble is not None:
        assert case["told"] in str(trouble)
        assert not trouble.passing().lasting
