# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gathers what the check of the settings needs, and judges it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat.runner import NotYet, run
from ansible_collections.celeryops.platform.plugins.module_utils._celery import settings
from ansible_collections.celeryops.platform.plugins.module_utils._celery.snapshot import ERROR, Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._cluster import metrics_api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import NoClusterError, connect

__all__ = ["assess"]


def assess(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool, warn: Callable[[str], None]) -> None:
    """Fills in `result`: findings, unchecked. An error among the findings raises SettingsError."""
    pools = tuple(settings.pool_of(given) for given in params["pools"])
    try:
        survey = params["survey"] or run("settings", params, {"app": params["app"]}, check=check_mode)
        api = connect(params)
        ranges = api.list("v1", "LimitRange", params["namespace"])
        autoscaled = any(pool.max_replicas is not None for pool in pools)
        silent = metrics_api.problem(api) if autoscaled else ""
    except (NotYet, NoClusterError) as reason:
        if not check_mode:
            raise
        result["unchecked"] = [f"everything: {reason}"]
        return
    seen = Snapshot(
        survey=survey,
        pools=pools,
        # In check mode the role that would have brought it has only said so.
        limits=settings.limits_of(params, ranges, "" if check_mode else silent),
        waived=tuple(params["queues_waived"]),
    )
    findings = settings.check(seen)
    result.update(findings=[finding.as_dict() for finding in findings], unchecked=settings.unchecked(seen))
    if silent and check_mode:
        result["unchecked"].append(f"the metrics API: {silent}")
    for finding in findings:
        if finding.severity != ERROR:
            warn(settings.warning(finding))
    settings.refuse(findings)
