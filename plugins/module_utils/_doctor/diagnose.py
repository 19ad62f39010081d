# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every rule over one snapshot, and the order of what they find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Finding,
    Rule,
    RuledOut,
    Symptom,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.rules import (
    admission,
    broker,
    database,
    memory,
    nodes,
    probes,
    process,
    scale,
    settings,
    starting,
    tasks,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.symptoms import symptoms_of

__all__ = ["RULES", "Diagnosis", "diagnose", "rank"]

RULES: tuple[Rule, ...] = tuple(
    rule
    for family in (nodes, admission, starting, settings, broker, database, process, memory, probes, scale, tasks)
    for rule in family.RULES
)


@dataclass(frozen=True)
class Diagnosis:
    """Findings, the likeliest cause first; symptoms that none of them explains; and what it is not."""

    findings: tuple[Finding, ...]
    symptoms: tuple[Symptom, ...]
    ruled_out: tuple[RuledOut, ...]
    unseen: tuple[Unseen, ...]
    gaps: tuple[tuple[str, str], ...] = ()

    @property
    def unexplained(self) -> tuple[Symptom, ...]:
        known = {subject for finding in self.findings for subject in finding.explains}
        return tuple(one for one in self.symptoms if one.subject not in known)

    @property
    def healthy(self) -> bool:
        return not self.findings and not self.symptoms

    def as_dict(self) -> dict[str, Any]:
        return {
            "healthy": self.healthy,
            "findings": [one.as_dict() for one in self.findings],
            "symptoms": [{"subject": one.subject, "text": one.text} for one in self.symptoms],
            "unexplained": [{"subject": one.subject, "text": one.text} for one in self.unexplained],
            "ruled_out": [{"cause": one.cause, "because": one.because} for one in self.ruled_out],
            "could_not_look": [
                *({"what": part, "because": why} for part, why in self.gaps),
                *({"what": one.cause, "because": one.because} for one in self.unseen),
            ],
        }


def diagnose(seen: Snapshot, rules: Iterable[Rule] = RULES) -> Diagnosis:
    verdicts: list[Verdict] = [verdict for rule in rules for verdict in rule(seen)]
    findings, outdone = rank([one for one in verdicts if isinstance(one, Finding)])
    return Diagnosis(
        findings=tuple(findings),
        symptoms=symptoms_of(seen),
        ruled_out=(*(one for one in verdicts if isinstance(one, RuledOut)), *outdone),
        unseen=tuple(one for one in verdicts if isinstance(one, Unseen)),
        gaps=seen.gaps,
    )


def rank(findings: Sequence[Finding]) -> tuple[list[Finding], list[RuledOut]]:
    """The findings in order, and those that a surer one makes superfluous.

    1. What explains a symptom comes before what has done no harm yet.
    2. The surer comes before the less sure.
    3. What strikes earlier on a pod's way comes first: nothing later is reached.
    4. What explains more comes first.
    5. The name decides, so that the same snapshot has the same order.
    """
    ordered = sorted(
        findings, key=lambda one: (not one.explains, -one.confidence, one.stage, -len(one.explains), one.cause)
    )
    kept: list[Finding] = []
    outdone: list[RuledOut] = []
    for finding in ordered:
        cause = _outdone_by(finding, findings)
        if cause is None:
            kept.append(finding)
        else:
            outdone.append(RuledOut(finding.cause, f"{cause.cause} explains all that it would"))
    return kept, outdone


def _outdone_by(finding: Finding, others: Sequence[Finding]) -> Finding | None:
    """What brings about all that a mere consequence would explain; together several may, the surest is named."""
    if not finding.consequence or not finding.explains:
        return None
    causes = [one for one in others if not one.consequence and one.explains]
    known = {subject for one in causes for subject in one.explains}
    if not causes or not set(finding.explains) <= known:
        return None
    return max(causes, key=lambda one: (len(set(one.explains) & set(finding.explains)), one.confidence))
