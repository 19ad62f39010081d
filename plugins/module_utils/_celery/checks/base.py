# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is expected, what was observed, and one line of the report. Data only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Check", "Expectation", "Observation", "Rule", "unasked"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Expectation:
    """What a proven platform looks like."""

    namespace: str
    # Deployments, one for each pool
    workers: tuple[str, ...]
    # Empty for an application without a scheduler
    beat: str
    queues: tuple[str, ...]
    # Largest ratio of limit to request, by resource
    max_ratio: Mapping[str, float] = field(default_factory=lambda: {"cpu": 2.0, "memory": 2.0})
    # Deployment: the Celery settings that its workers were given
    settings: Mapping[str, Json] = field(default_factory=dict)
    # Entries as role celery_app declares them
    schedule: tuple[Json, ...] = ()
    # Seconds by which beat may be late with writing last_run_at.
    lag: float = 180.0


@dataclass(frozen=True)
class Observation:
    """What was found. ``answers`` is None when no worker could be asked, ``problem`` says why."""

    # The Deployments of Expectation.workers that are there
    workers: tuple[Json, ...]
    beat: Json | None
    # Deployment: its pods
    worker_pods: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    beat_pods: tuple[Json, ...] = ()
    # By which they elect the one that acts, where they do
    beat_lease: Json | None = None
    pods: tuple[Json, ...] = ()
    # PodDisruptionBudgets
    budgets: tuple[Json, ...] = ()
    # Secret: key: length; None where the account may not read them
    secrets: Mapping[str, Mapping[str, int]] | None = field(default_factory=dict)
    answers: Json | None = None
    problem: str = ""
    # Whether a task was sent through each queue
    sent: bool = True
    # In check mode what is not there yet has not failed.
    check_mode: bool = False


@dataclass(frozen=True)
class Check:
    """One line of the report. ``passed`` is None where the check could not or must not be made."""

    name: str
    passed: bool | None
    evidence: str
    remedy: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "passed": self.passed,
            "evidence": self.evidence,
            "remedy": None if self.passed else self.remedy,
        }


Rule = Callable[[Expectation, Observation], Check]


def unasked(name: str, seen: Observation) -> Check:
    return Check(name, False, seen.problem or "no worker could be asked", "make the workers run first")
