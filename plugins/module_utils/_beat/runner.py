# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a shipped program in the application's image: to look, in a container that runs; to act, in a pod of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._beat import neighbour, shipment
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside.migrations import settled
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.podrun import run_pod

__all__ = ["NotYet", "look", "run", "settled"]

# Refusals that a right to ask would not change: the cluster, the namespace or the image is not there yet.
DENIED = (401, 403)
# What a task before this one would have made, had it not been in check mode: the database, a key of a ConfigMap.
MADE_BEFORE = ("unreachable", "settings")


class NotYet(Exception):
    """In check mode: what the answer depends on does not exist yet; the text says what."""


def look(program: str, params: Mapping[str, Any], request: Mapping[str, Any]) -> shipment.Answer | None:
    """What the program sees from a container that stands there already; None without a cluster or a fit container."""
    try:
        return _look(connect(params), program, params, request)
    except KubeError as problem:
        if problem.status in DENIED:
            raise
        return None


def run(program: str, params: Mapping[str, Any], request: Mapping[str, Any], *, check: bool) -> shipment.Answer:
    """The program's answer; in check mode raises :class:`NotYet` where there is nobody to ask yet."""
    try:
        api = connect(params)
        seen = _look(api, program, params, request)
        if seen is not None and (check or settled(seen)):
            return seen
        if check:
            _require(api, params)
        pod = shipment.manifest(f"beat-{program}", params, shipment.work(program, request))
        done = run_pod(api, pod, timeout=params["timeout"])
        return shipment.interpret(shipment.Outcome(done.exit_code, done.log))
    except KubeError as problem:
        if check and problem.status not in DENIED:
            raise NotYet(str(problem)) from problem
        raise
    except shipment.AppError as problem:
        if check and problem.kind in MADE_BEFORE:
            raise NotYet(str(problem)) from problem
        raise


def _look(api: Api, program: str, params: Mapping[str, Any], request: Mapping[str, Any]) -> shipment.Answer | None:
    """What the program sees, and would do, from a container that stands there already; None where none is fit."""
    try:
        place = neighbour.find(api, params)
        if place is None:
            return None
        command, packed = shipment.visit(params["python"], program, {**request, "check": True}, place.extra)
        done = exec_in_pod(
            api,
            params["namespace"],
            place.pod,
            command,
            container=place.container,
            stdin=packed,
            timeout=params["timeout"],
        )
        return shipment.interpret(shipment.Outcome(done.rc, f"{done.stderr}\n{done.stdout}"))
    except (KubeError, shipment.AppError):
        # It may have been on its way out, or be short of memory. A pod of its own tells what is really wrong.
        return None


def _require(api: Api, params: Mapping[str, Any]) -> None:
    """Looks for what the pod needs before it is created: waiting for its failure takes longer."""
    namespace = params["namespace"]
    wanted = [ObjectRef("v1", "Namespace", namespace)]
    wanted += [ObjectRef("v1", "ConfigMap", name, namespace) for name in params["config_maps"]]
    wanted += [ObjectRef("v1", "Secret", name, namespace) for name in params["secrets"]]
    for source in (entry.get("valueFrom") or {} for entry in params["env"]):
        for key, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
            if key in source and not source[key].get("optional"):
                wanted.append(ObjectRef("v1", kind, source[key]["name"], namespace))
    missing = [str(ref) for ref in dict.fromkeys(wanted) if api.get(ref) is None]
    if missing:
        raise NotYet(f"not there yet: {', '.join(missing)}")
