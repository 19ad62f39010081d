# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The course of a drill, from what the workers recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Event, Kill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import (
    Disturbance,
    nothing,
    timeline,
)

COURSES = yaml.safe_load((Path(__file__).parent / "data/courses.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("course", COURSES, ids=lambda course: course["name"])
def test_course(course: dict[str, Any]) -> None:
    found = timeline(
        course["sent"],
        [Event(*event) for event in course["events"]],
        [Kill(*kill) for kill in course.get("kills", [])],
        [Disturbance(*disturbance) for disturbance in course.get("disturbances", [])],
    )
    assert found["begin"] == 100
    assert [list(sample.values()) for sample in found["samples"]] == course["samples"]
    assert list(found["samples"][0]) == ["seconds", "sent", "run", "waiting"]
    assert [list(mark.values()) for mark in found["marks"]] == course["marks"]


def test_nothing_sent_is_no_course() -> None:
    assert timeline({}, [], [], [Disturbance(1.0)]) == nothing()


def test_a_long_drill_has_a_bounded_number_of_samples_and_ends_with_the_truth() -> None:
    sent = {f"task {number}": 100 + number / 7 for number in range(2000)}
    events = [Event(task, what, "p", at + 5 + late) for task, at in sent.items() for late, what in enumerate(WHAT)]
    found = timeline(sent, sorted(events, key=lambda event: event.at), [], [])
    assert 400 < len(found["samples"]) <= 501
    assert list(found["samples"][-1].values())[1:] == [2000, 2000, 0]
    times = [sample["seconds"] for sample in found["samples"]]
    assert times == sorted(times)


WHAT = ("started", "ended")
