# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker's container, asked with the application's own settings and the probe's own code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import (
    Call,
    Execute,
    Lists,
    is_ready,
)
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["ask", "pods_of"]

Json = dict[str, Any]


def pods_of(api: Lists, namespace: str, workers: list[str]) -> list[Json]:
    """The pods of these Deployments, the oldest first."""
    wanted = [
        obj["spec"]["selector"].get("matchLabels", {}).items()
        for obj in api.list("apps/v1", "Deployment", namespace)
        if obj["metadata"]["name"] in workers
    ]
    pods = [
        pod
        for pod in api.list("v1", "Pod", namespace)
        if any(labels <= pod["metadata"].get("labels", {}).items() for labels in wanted)
    ]
    return sorted(pods, key=lambda pod: (str(pod["metadata"].get("creationTimestamp")), str(pod["metadata"]["name"])))


def ask(
    execute: Execute, pods: list[Json], python: str, program: str, options: Mapping[str, Any], timeout: float = 60
) -> Json:
    """The answer of a program of shipment.PROGRAMS in the newest ready pod; CeleryOpsError where there is none."""
    ready = [pod for pod in pods if is_ready(pod)]
    if not ready:
        raise CeleryOpsError(
            "no worker can be asked",
            expected="a worker pod that is ready",
            found=f"none of {len(pods)} pods of the workers is",
            remedy="see why with `kubectl get pods` and `kubectl describe`, or name other Deployments in workers",
        )
    name, namespace = ready[-1]["metadata"]["name"], ready[-1]["metadata"]["namespace"]
    command, packed = shipment.visit(python, program, options, ())
    container = ready[-1]["spec"]["containers"][0]["name"]
    status, output, errors = execute(Call(namespace, name, container, command, packed, timeout))
    try:
        return shipment.interpret(shipment.Outcome(status, f"{errors}\n{output}"))
    except shipment.AppError as error:
        raise CeleryOpsError(
            f"the application could not be asked in pod {name}",
            expected=error.expected,
            found=error.found,
            remedy=f"kubectl -n {namespace} exec {name} -- {python} -m celery --help",
        ) from error
