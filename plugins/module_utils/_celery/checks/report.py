# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every check, in the order of the report."""

from __future__ import annotations

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks import answers, beat, workloads
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import (
    Check,
    Expectation,
    Observation,
    Rule,
)

__all__ = ["CHECKS", "OF_BEAT", "evaluate"]

CHECKS: tuple[Rule, ...] = (
    workloads.workers_running,
    beat.beat_running,
    workloads.images_equal,
    workloads.secrets_present,
    answers.django_check,
    answers.broker_as_configured,
    answers.broker_is_master,
    answers.backend_works,
    answers.workers_answer,
    answers.workers_consume,
    answers.queues_declared,
    answers.queues_consumed,
    answers.backlog_drains,
    answers.settings_in_effect,
    answers.tasks_ran,
    beat.beat_ticks,
    beat.beat_sends,
    beat.schedule_as_declared,
    workloads.probes_defined,
    workloads.resources_declared,
    workloads.strategies,
    workloads.drain_allowed,
)
# Left out for an application without a scheduler
OF_BEAT = (beat.beat_running, beat.beat_ticks, beat.beat_sends, beat.schedule_as_declared)


def evaluate(expected: Expectation, seen: Observation) -> list[Check]:
    """Every check, in the order of the report. Where check mode finds nothing yet, nothing has failed."""
    checks = [check(expected, seen) for check in CHECKS if expected.beat or check not in OF_BEAT]
    if seen.check_mode and not seen.workers and seen.beat is None:
        return [Check(check.name, None, "check mode: nothing is deployed yet") for check in checks]
    return checks
