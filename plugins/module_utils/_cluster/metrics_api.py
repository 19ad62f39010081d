# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resource metrics API, from which autoscalers and `kubectl top` learn what pods use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.resources import ObjectRef

__all__ = ["MetricsApi", "look", "problem"]

NAME = "v1beta1.metrics.k8s.io"
PATH = "/apis/metrics.k8s.io/v1beta1"
OURS = ("app.kubernetes.io/managed-by", "celeryops")
# Nobody registered it; it is registered, and what stands behind it does not answer.
MISSING, SILENT = 404, 503
DENIED = (401, 403)


class Server(Protocol):
    """The part of the API client that is used here."""

    def request(self, method: str, path: str) -> Any: ...

    def get(self, ref: ObjectRef) -> Any: ...


@dataclass(frozen=True)
class MetricsApi:
    """Whether it is registered, by us or by others, and why it does not answer, if so."""

    registered: bool
    ours: bool
    problem: str = ""


def problem(server: Server) -> str:
    """Why the API does not answer; empty where it does. Every account may ask. Other errors are raised."""
    try:
        server.request("GET", PATH)
    except KubeError as error:
        if error.status == MISSING:
            return "the cluster serves no metrics API"
        if error.status == SILENT:
            return "what is registered for the cluster's metrics API does not answer"
        raise
    return ""


def look(server: Server) -> MetricsApi:
    """Raises KubeError; an account that may not read registrations learns that it answers, and takes it for others'."""
    try:
        found = server.get(ObjectRef("apiregistration.k8s.io/v1", "APIService", NAME, None))
    except KubeError as error:
        if error.status not in DENIED:
            raise
        silent = problem(server)
        return MetricsApi(registered=not silent, ours=False, problem=silent)
    label, value = OURS
    ours = bool(found) and (found["metadata"].get("labels") or {}).get(label) == value
    return MetricsApi(registered=bool(found), ours=ours, problem=problem(server))
