# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observes a platform through the Kubernetes API and judges it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import Expectation, Observation
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.report import evaluate
from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import (
    Call,
    Visit,
    observe,
    pod_rows,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.junit import junit
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import NoClusterError, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["validate"]


def validate(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool) -> None:
    """Fills in `result`: passed, checks, pods. A failed check raises CeleryOpsError, but not in check mode."""
    expected = Expectation(
        namespace=params["namespace"],
        workers=tuple(params["workers"]),
        beat=params["beat"],
        queues=tuple(params["queues"]),
        max_ratio=params["max_ratio"],
        lag=params["beat_lag"],
        settings=params["settings"],
        schedule=tuple(params["schedule"]),
    )
    visit = Visit(
        app=params["app"],
        task=params["task"],
        python=params["python"],
        send=params["send_tasks"] and not check_mode,
        check_mode=check_mode,
        beat=bool(params["beat"]),
        task_timeout=params["task_timeout"],
        beat_timeout=0.0 if check_mode else params["beat_timeout"],
    )
    seen = _look(params, expected, visit, check_mode)
    checks = evaluate(expected, seen)
    failed = [check for check in checks if check.passed is False]
    result.update(passed=not failed, checks=[check.as_dict() for check in checks], pods=pod_rows(seen))
    if params["junit_path"] and not check_mode:
        _write(params["junit_path"], junit(params["namespace"], result["checks"]))
    if failed and not check_mode:
        raise CeleryOpsError(
            f"{len(failed)} of {len(checks)} checks failed",
            expected="a platform that passes every check",
            found="; ".join(f"{check.name}: {check.evidence}" for check in failed),
            remedy="; ".join(dict.fromkeys(check.remedy for check in failed if check.remedy)),
        )


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as problem:
        raise CeleryOpsError(
            "The checks were made, and their JUnit file cannot be written",
            expected=f"a file that may be written at {path}",
            found=str(problem),
            remedy="correct junit_path",
        ) from problem


def _look(params: Mapping[str, Any], expected: Expectation, visit: Visit, check_mode: bool) -> Observation:
    try:
        api = connect(params)
    except NoClusterError:
        # On a fresh machine check mode has only said that there would be a cluster.
        if not check_mode:
            raise
        return Observation(workers=(), beat=None, check_mode=True)

    def execute(call: Call) -> tuple[int, str, str]:
        done = exec_in_pod(
            api,
            call.namespace,
            call.pod,
            call.command,
            container=call.container,
            stdin=call.stdin,
            timeout=call.timeout,
        )
        return done.rc, done.stdout, done.stderr

    return observe(api, execute, expected, visit)
