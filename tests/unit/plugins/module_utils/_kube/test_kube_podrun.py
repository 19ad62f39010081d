# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a short-lived pod's outcome is known."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import _is_over

WELL = {"terminated": {"exitCode": 0}}
BADLY = {"terminated": {"exitCode": 1}}
RUNNING: dict[str, Any] = {"running": {}}


@pytest.mark.parametrize(
    ("phase", "states", "over"),
    [
        ("Pending", [], False),
        ("Pending", [{"waiting": {"reason": "ContainerCreating"}}], False),
        ("Running", [RUNNING], False),
        ("Running", [WELL], True),
        # Why it ended so, the pod itself or somebody else, is told with the phase.
        ("Running", [BADLY], False),
        ("Failed", [BADLY], True),
        ("Failed", [], True),
        ("Succeeded", [WELL], True),
        ("Running", [WELL, RUNNING], False),
        ("Running", [WELL, WELL], False),
    ],
)
def test_a_lone_container_that_ended_well_is_an_outcome(phase: str, states: list[dict[str, Any]], over: bool) -> None:
    pod = {
        "spec": {"restartPolicy": "Never", "containers": [{}] * max(len(states), 1)},
        "status": {"phase": phase, "containerStatuses": [{"state": state} for state in states]},
    }
    assert _is_over(pod) is over


def test_a_container_that_is_started_again_is_none() -> None:
    pod = {"spec": {"restartPolicy": "Always", "containers": [{}]}, "status": {"containerStatuses": [{"state": WELL}]}}
    assert _is_over(pod) is False
