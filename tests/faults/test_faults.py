# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each fault on a real cluster: the doctor names its cause first, and its remedy heals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from fault_steps import Place, Report

FAULTS = yaml.safe_load((Path(__file__).parent / "faults.yaml").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def whole(place: Place) -> Any:
    """Every fault leaves a platform that works."""
    yield
    if place.undo:
        place.restore()
        place.until_healthy("afterwards")


def test_a_platform_that_works_has_no_findings(place: Place, report: Report) -> None:
    result = place.doctor()
    row = report.note("none", [], result, healed=True)
    assert row["beside"] == []
    assert result["could_not_look"] == []


def test_a_rolling_update_is_no_fault(place: Place, report: Report) -> None:
    """Looked at for as long as it takes: no pod that comes or goes is a finding."""
    change = {"spec": {"template": {"metadata": {"annotations": {"rolled": "by-the-fault-suite"}}}}}
    place.inject([{"patch": {"kind": "Deployment", "name": "celery-worker", "body": change}}])
    looks = []
    while True:
        result = place.doctor()
        looks.append(result)
        status = next(
            one["status"]
            for one in place.api.list("apps/v1", "Deployment", place.namespace)
            if one["metadata"]["name"] == "celery-worker"
        )
        if len(looks) > 1 and status.get("updatedReplicas") == status.get("readyReplicas") == status.get("replicas"):
            break
    found = [one["cause"] for look in looks for one in look["findings"]]
    every = {"findings": [one for look in looks for one in look["findings"]], "seconds": looks[0]["seconds"]}
    report.note(f"rolling update, {len(looks)} looks", [], every, healed=True)
    assert found == []


def test_load_is_no_fault(place: Place, report: Report) -> None:
    """Every slot is taken, and a backlog waits behind them, from before the first look until after the last."""
    send = """
from config.celery import app
for _ in range(300):
    app.send_task("config.celery.debug_task", kwargs={"hold": 0.5}, queue="celery")
"""
    place.inject([{"exec": {"pods": "component=celery-worker", "command": ["python", "-c", send]}}])
    looks = [place.doctor() for _ in range(3)]
    backlog = place.backlog()
    every = {"findings": [one for look in looks for one in look["findings"]], "seconds": looks[0]["seconds"]}
    report.note("load, 3 looks", [], every, healed=True)
    assert [one["cause"] for one in every["findings"]] == []
    assert backlog > 0
    place.until_worked_off()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault["name"])
def test_fault(fault: dict[str, Any], place: Place, report: Report) -> None:
    place.inject(fault["inject"])

    rank = fault.get("rank", 1)

    def first(result: dict[str, Any]) -> bool:
        return fault["cause"] in [one["cause"] for one in result["findings"][:rank]]

    result = place.until(first, f"{fault['cause']} ranked first")
    causes = [fault["cause"], *fault.get("also", [])]
    row = report.note(fault["name"], causes, result, healed=False, rank=rank)
    finding = next(one for one in result["findings"] if one["cause"] == fault["cause"])
    place.heal(fault.get("heal", "undo"), finding["remedy"])
    place.until_healthy("healed")
    row["healed"] = True
