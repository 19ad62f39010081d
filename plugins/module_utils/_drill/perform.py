# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import Call
from ansible_collections.celeryops.platform.plugins.module_utils._celery.worker_pod import ask, pods_of
from ansible_collections.celeryops.platform.plugins.module_utils._drill.account import Budget
from ansible_collections.celeryops.platform.plugins.module_utils._drill.run import Plan, drill
from ansible_collections.celeryops.platform.plugins.module_utils._drill.workload import Workload
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod

__all__ = ["budget_of", "perform", "plan_of"]

# Seconds for an answer, the import of the application on a busy node and a minute's wait for tasks included
ANSWER = 240.0


def budget_of(params: Mapping[str, Any]) -> Budget:
    """What the module's options allow; what they leave out is as strict as by default."""
    return Budget(**{name: limit for name, limit in (params["budget"] or {}).items() if limit is not None})


def plan_of(params: Mapping[str, Any]) -> Plan:
    """The plan from the module's options; raises CeleryOpsError for one that must not be carried out."""
    if not params["allowed"]:
        raise CeleryOpsError(
            "drills are not allowed here",
            expected="allowed: true, which says that this platform may be disturbed",
            found="allowed: false",
            remedy="set drill_allowed to true in the inventory of a platform that may be disturbed",
        )
    if not 0 < params["shortest"] <= params["longest"]:
        raise CeleryOpsError(
            "the tasks of a drill cannot take so long",
            expected="shortest above 0 and not above longest",
            found=f"shortest {params['shortest']:g}, longest {params['longest']:g}",
            remedy="correct shortest and longest",
        )
    return Plan(
        name=params["drill"],
        repetitions=params["repetitions"],
        tasks=params["tasks"],
        task=params["task"],
        argument=params["argument"],
        queue=params["queue"],
        shortest=params["shortest"],
        longest=params["longest"],
        drain=params["drain"],
        python=params["python"],
        budget=budget_of(params),
    )


def perform(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool) -> None:
    """Fills in ``result``. In check mode only looks whether the drill could be held."""
    plan = plan_of(params)
    api = connect(params)
    namespace = params["namespace"]
    site = Workload(api, namespace, params["workers"][0], params["timeout"])
    if check_mode:
        site.refuse()
        result.update(changed=True)
        return

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

    def worker(do: str, options: Mapping[str, Any]) -> dict[str, Any]:
        # Each time another pod may be the one that stays.
        pods = pods_of(api, namespace, params["workers"])
        return ask(execute, pods, params["python"], "drill", {"app": params["app"], "do": do, **options}, ANSWER)

    result.update(changed=True)
    drill(site, worker, plan, result)
