# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each cause is found where it is, first of all, and nowhere else; a platform that works has no findings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from doctor_cases import CASES, snapshot

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.diagnose import RULES, Diagnosis, diagnose

DOCS = Path(__file__).parents[5] / "docs/docsite/rst/diagnosis.rst"


def told(diagnosis: Diagnosis) -> str:
    return " ".join(
        f"{one.title} {one.remedy} " + " ".join(f"{line.source} {line.text}" for line in one.evidence)
        for one in diagnosis.findings
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases(case: dict[str, Any]) -> None:
    diagnosis = diagnose(snapshot(case))
    assert [one.cause for one in diagnosis.findings] == case["findings"]
    assert [words for words in case.get("says", []) if words not in told(diagnosis)] == []
    for one in diagnosis.findings:
        assert one.evidence, f"{one.cause} quotes nothing"
        assert one.remedy
        wanted = case.get("explains", {}).get(one.cause)
        assert wanted is None or sorted(one.explains) == wanted
        assert case.get("confidence", {}).get(one.cause) in (None, one.confidence.name.lower())
    assert set(case.get("ruled_out", [])) <= {one.cause for one in diagnosis.ruled_out}
    assert set(case.get("unseen", [])) <= {one.cause for one in diagnosis.unseen}
    assert sorted(one.subject for one in diagnosis.unexplained) == case.get("unexplained", [])
    assert diagnosis.healthy == (not case["findings"] and not case.get("unexplained"))


def causes() -> set[str]:
    """Every rule has a verdict on each of its causes, whatever it sees."""
    return {verdict.cause for rule in RULES for verdict in rule(snapshot({"change": {}}))}


def test_every_cause_has_a_case_and_a_line_in_the_docs() -> None:
    covered = {cause for case in CASES for cause in case["findings"]}
    assert covered == causes()
    documented = set(re.findall(r"^``([a-z-]+)``", DOCS.read_text(encoding="utf-8"), re.M))
    assert documented == covered


def test_a_platform_that_works_rules_out_every_cause() -> None:
    """Where everything could be looked at, each cause is ruled out, with a reason."""
    diagnosis = diagnose(snapshot({"change": {}}))
    assert diagnosis.unseen == ()
    assert {one.cause for one in diagnosis.ruled_out} == causes()
    assert all(one.because for one in diagnosis.ruled_out)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_cause_has_a_verdict_in_every_case(case: dict[str, Any]) -> None:
    diagnosis = diagnose(snapshot(case))
    judged = [one.cause for one in (*diagnosis.findings, *diagnosis.ruled_out, *diagnosis.unseen)]
    assert sorted(judged) == sorted(causes())


def test_files_hold_what_the_tests_read() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names))
    known = {
        "name",
        "with",
        "change",
        "findings",
        "says",
        "explains",
        "confidence",
        "ruled_out",
        "unseen",
        "unexplained",
    }
    assert {key for case in CASES for key in case} <= known
