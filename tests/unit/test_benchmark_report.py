# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arithmetic of the benchmark, and the objects it applies."""

from __future__ import annotations

import pytest
from benchmarks.measure import Run
from benchmarks.objects import KINDS, application_set, with_revision
from benchmarks.report import Results

OTHER = "kubernetes.core.k8s, one task"


def run(wall: float, requests: int = 10) -> Run:
    return Run(wall, wall / 2, 50, {"agent": requests})


def results() -> Results:
    found = Results()
    for ours, theirs in ((1.0, 4.0), (2.0, 5.0), (1.2, 4.0)):
        found.add("manifests", "unchanged", 100, run(ours))
        found.add(OTHER, "unchanged", 100, run(theirs, 200))
    found.add("manifests", "unchanged", 500, run(1.8, 14))
    found.add("manifests", "10 % changed", 100, run(1.1))
    found.add("manifests", "10 % changed", 500, run(2.3))
    return found


def test_rows_are_minimum_median_and_the_median_of_paired_ratios() -> None:
    row = next(row for row in results().rows() if row.contender == OTHER)
    assert (row.wall_min, row.wall_median, row.runs, row.requests) == (4.0, 4.0, 3, 200)
    assert row.ratio == pytest.approx(0.3)


def test_targets_are_what_was_asked_for() -> None:
    targets = {target.what: target for target in results().targets()}
    assert targets[f"100 unchanged objects, wall time against {OTHER}"].reached
    requests = targets["500 unchanged objects, requests"]
    assert (requests.value, requests.limit, requests.reached) == (14, len(KINDS) + 4, False)
    # 0.8 s for 400 objects; 40 of them changed in 0.4 s more.
    assert targets["a further unchanged object, ms"].value == pytest.approx(2.0)
    assert targets["a further changed object, ms"].value == pytest.approx(10.0)


def test_the_table_has_a_line_for_each_row() -> None:
    lines = results().table().splitlines()
    assert len(lines) == len(results().rows()) + 4
    assert lines[0] == lines[2] == lines[-1]


def test_one_object_of_each_application_changes() -> None:
    first = application_set("shop", 100)
    second = with_revision(first, "1")
    changed = [after for before, after in zip(first, second, strict=True) if before != after]
    assert {one["kind"] for one in first} == set(KINDS)
    assert len({(one["kind"], one["metadata"]["name"]) for one in first}) == 100
    assert len(changed) == 10
    assert {one["kind"] for one in changed} == set(KINDS)
