# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a diagnosis is made of: findings, what was ruled out, and what could not be looked at. Data only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot

__all__ = ["Confidence", "Evidence", "Finding", "Rule", "RuledOut", "Stage", "Symptom", "Unseen", "Verdict"]


class Confidence(IntEnum):
    """How a cause is known. POSSIBLE fits what is seen; LIKELY is said by a log; CERTAIN by who must know it."""

    POSSIBLE = 1
    LIKELY = 2
    CERTAIN = 3


class Stage(IntEnum):
    """Where on a pod's way a cause strikes. What strikes early keeps the later from being reached."""

    NODE = 1
    ADMISSION = 2
    SCHEDULING = 3
    START = 4
    SETTINGS = 5
    BROKER = 6
    DATABASE = 7
    PROCESS = 8
    PROBES = 9
    SCALE = 10
    TASKS = 11


@dataclass(frozen=True)
class Evidence:
    """A line that somebody said, word for word, and who said it."""

    source: str
    text: str


@dataclass(frozen=True)
class Symptom:
    """Something that is not as it should be; `subject` is written as kubectl writes it."""

    subject: str
    text: str


@dataclass(frozen=True)
class Finding:
    """A cause. `explains` are subjects of symptoms; empty for what has done no harm yet.

    `consequence` is set for what other causes bring about too: it is left out where a surer finding explains the same.
    """

    cause: str
    title: str
    stage: Stage
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    remedy: str
    explains: tuple[str, ...] = ()
    consequence: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "cause": self.cause,
            "title": self.title,
            "confidence": self.confidence.name.lower(),
            "evidence": [{"source": one.source, "text": one.text} for one in self.evidence],
            "explains": list(self.explains),
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class RuledOut:
    """A cause that it is not."""

    cause: str
    because: str


@dataclass(frozen=True)
class Unseen:
    """A cause that may be or not: what would tell could not be looked at."""

    cause: str
    because: str


Verdict = Finding | RuledOut | Unseen  # pylint: disable=unsupported-binary-operation
Rule = Callable[["Snapshot"], Iterable[Verdict]]
