# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of findings, criterion by criterion, and what a surer one makes superfluous."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.diagnose import rank
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Stage,
)


def finding(cause: str, **given: Any) -> Finding:
    chosen: dict[str, Any] = {
        "stage": Stage.BROKER,
        "confidence": Confidence.LIKELY,
        "evidence": (Evidence("somebody", "said so"),),
        "explains": ("pod/a",),
        **given,
    }
    return Finding(cause, cause, remedy="do something", **chosen)


# Each pair differs in one criterion, and agrees or contradicts in those below it.
PAIRS = [
    (
        finding("z", confidence=Confidence.POSSIBLE, stage=Stage.TASKS),
        finding("a", explains=(), confidence=Confidence.CERTAIN),
    ),
    (finding("z", confidence=Confidence.CERTAIN, stage=Stage.TASKS), finding("a", explains=("pod/a", "pod/b"))),
    (finding("z", stage=Stage.NODE), finding("a", stage=Stage.TASKS, explains=("pod/a", "pod/b"))),
    (finding("z", explains=("pod/a", "pod/b")), finding("a")),
    (finding("a"), finding("b")),
]


@pytest.mark.parametrize(("first", "second"), PAIRS, ids=["explains", "confidence", "stage", "breadth", "name"])
def test_order(first: Finding, second: Finding) -> None:
    assert rank([second, first])[0] == [first, second]
    assert rank([first, second])[0] == [first, second]


def test_order_does_not_depend_on_the_rules_order() -> None:
    findings = [one for pair in PAIRS for one in pair]
    assert rank(findings)[0] == rank(findings[::-1])[0]


def test_a_consequence_gives_way_to_what_explains_the_same() -> None:
    cause = finding("broker", explains=("pod/a", "pod/b"))
    probe = finding("probe", consequence=True, stage=Stage.PROBES)
    kept, outdone = rank([probe, cause])
    assert kept == [cause]
    assert [(one.cause, one.because) for one in outdone] == [("probe", "broker explains all that it would")]


def test_a_consequence_stays_where_it_explains_more() -> None:
    cause = finding("broker", explains=("pod/a",))
    probe = finding("probe", consequence=True, stage=Stage.PROBES, explains=("pod/a", "pod/b"))
    assert rank([probe, cause])[0] == [cause, probe]


def test_two_consequences_do_not_cancel_each_other() -> None:
    found = [finding("a", consequence=True), finding("b", consequence=True)]
    assert rank(found)[0] == found


def test_what_has_done_no_harm_yet_is_no_mere_consequence() -> None:
    latent = finding("silence", consequence=True, explains=())
    cause = finding("broker")
    assert rank([latent, cause])[0] == [cause, latent]
