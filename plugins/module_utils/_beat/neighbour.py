# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A container that runs with the very image and environment that a pod of our own would get: it sees the same.

To look from there costs a process; a pod of its own costs a sandbox, an address and a volume as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.quantity import parse_quantity
from ansible_collections.celeryops.platform.plugins.module_utils._kube.rollout import (
    ANNOTATION,
    config_hash,
    sources,
)

__all__ = ["Neighbour", "find", "fit"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A container, and the names of the variables that it has beside those that were asked for."""

    pod: str
    container: str
    extra: tuple[str, ...]


def find(api: Api, params: Mapping[str, Any]) -> Neighbour | None:
    """The newest container that is fit and whose environment is still what its sources hold; None without one.

    `params` are the options of argspec.APP_ARGS. Raises KubeError.
    """
    namespace = params["namespace"]
    read: dict[tuple[str, str], Json | None] = {}

    def lookup(kind: str, name: str) -> Json | None:
        if (kind, name) not in read:
            read[kind, name] = api.get(ObjectRef("v1", kind, name, namespace))
        return read[kind, name]

    pods = api.list("v1", "Pod", namespace)
    for pod in sorted(pods, key=lambda one: str(one["metadata"]["creationTimestamp"]), reverse=True):
        found = fit(pod, params)
        if found is None:
            continue
        # A variable keeps the value that its source had when the container started.
        wanted = pod["metadata"].get("annotations", {}).get(ANNOTATION)
        workload = {"kind": "Deployment", "spec": {"template": pod}}
        if wanted is None or config_hash(sources(workload), lookup) != wanted:
            continue
        given = [lookup("ConfigMap", name) for name in params["config_maps"]]
        given += [lookup("Secret", name) for name in params["secrets"]]
        if not any(name in ((one or {}).get("data") or {}) for one in given for name in found.extra):
            return found
    return None


def fit(pod: Mapping[str, Any], params: Mapping[str, Any]) -> Neighbour | None:
    """The pod's container that has the image, sources and variables of `params`, and is ready and large enough."""
    status = pod.get("status") or {}
    ready = {one["name"] for one in status.get("containerStatuses") or [] if one.get("ready")}
    if "deletionTimestamp" in pod["metadata"]:
        return None
    for container in pod["spec"]["containers"]:
        if container["name"] in ready and _same(container, params) and _large(container, params):
            wanted = {entry["name"] for entry in params["env"] or []}
            extra = [entry["name"] for entry in container.get("env") or [] if entry["name"] not in wanted]
            return Neighbour(pod["metadata"]["name"], container["name"], tuple(extra))
    return None


def _same(container: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    given = [{"configMapRef": {"name": name}} for name in params["config_maps"]]
    given += [{"secretRef": {"name": name}} for name in params["secrets"]]
    variables = container.get("env") or []
    return (
        container["image"] == params["image"]
        and (container.get("envFrom") or []) == given
        and all(entry in variables for entry in params["env"] or [])
    )


def _large(container: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether its memory limit leaves room for what a pod of its own would be given."""
    has, needs = (
        parse_quantity((place.get("limits") or {}).get("memory"))
        for place in (container.get("resources") or {}, params["resources"] or {})
    )
    return has is None or (needs is not None and has >= needs)
