# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Sentinels, proxies and EndpointSlices of a cluster, found through the API and asked one by one."""

from __future__ import annotations

import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError, read_sentinel
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import Endpoints, Proxy, Sentinel

__all__ = ["Group", "endpoints", "group", "is_ready", "proxies", "sentinels"]

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """The pods of one StatefulSet or Deployment, and how many there should be; nothing where it does not exist."""

    name: str = ""
    pods: tuple[Object, ...] = ()
    wanted: int = 0
    service: str = ""

    def __bool__(self) -> bool:
        return bool(self.name)


def group(api: Api, kind: str, name: str, namespace: str) -> Group:
    """The workload of that name with its pods, by name."""
    found = api.get(ObjectRef("apps/v1", kind, name, namespace))
    if found is None:
        return Group()
    spec = found["spec"]
    labels = ",".join(f"{key}={value}" for key, value in (spec["selector"].get("matchLabels") or {}).items())
    pods = [pod for pod in api.list("v1", "Pod", namespace, label_selector=labels) if not _leaving(pod)]
    pods.sort(key=lambda pod: pod["metadata"]["name"])
    return Group(name, tuple(pods), int(spec.get("replicas", 1)), spec.get("serviceName", ""))


def _leaving(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp")) or (pod.get("status") or {}).get("phase") == "Failed"


def is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def sentinels(
    api: Api, namespace: str, found: Group, *, port: int, master: str, password: str, timeout: float, ca: str
) -> tuple[Sentinel, ...]:
    """Each Sentinel's own account."""
    seen = []
    for pod in found.pods:
        name, ready = pod["metadata"]["name"], is_ready(pod)
        try:
            with forward(api, namespace, name, port) as local_port:
                facts = read_sentinel("127.0.0.1", local_port, password, master, timeout=timeout, ca=ca)
        except (KubeError, RedisError) as error:
            seen.append(Sentinel(name, ready, error=str(error)))
            continue
        seen.append(Sentinel.of(name, ready, facts))
    return tuple(seen)


def proxies(api: Api, namespace: str, found: Group, *, port: int, watching: int, timeout: float) -> tuple[Proxy, ...]:
    """Each proxy's own account; ``watching`` Sentinels there are."""
    seen = []
    for pod in found.pods:
        name, ready = pod["metadata"]["name"], is_ready(pod)
        try:
            with forward(api, namespace, name, port) as local_port:
                table = _statistics(local_port, timeout)
        except (KubeError, OSError, http.client.HTTPException) as error:
            seen.append(Proxy(name, ready, error=str(error) or type(error).__name__))
            continue
        seen.append(Proxy.of(name, ready, table, watching))
    return tuple(seen)


def _statistics(port: int, timeout: float) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/stats;csv")
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
        if answer.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"its statistics answer {answer.status}")
        return text
    finally:
        connection.close()


def endpoints(
    api: Api, namespace: str, services: Mapping[str, tuple[Object, Sequence[Object]]]
) -> tuple[Endpoints, ...]:
    """What the EndpointSlices say of the Services, each given with the pods that its selector matches."""
    slices = api.list("discovery.k8s.io/v1", "EndpointSlice", namespace)
    seen = []
    for name, (service, pods) in sorted(services.items()):
        of_service = [one for one in slices if _service_of(one) == name]
        ready = {
            str((endpoint.get("targetRef") or {}).get("name", ""))
            for one in of_service
            for endpoint in one.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready", True)
        }
        everyone = bool(service["spec"].get("publishNotReadyAddresses"))
        wanted = {pod["metadata"]["name"] for pod in pods if everyone or is_ready(pod)}
        seen.append(Endpoints(name, tuple(sorted(ready)), tuple(sorted(wanted))))
    return tuple(seen)


def _service_of(endpoint_slice: Object) -> str:
    return str((endpoint_slice["metadata"].get("labels") or {}).get("kubernetes.io/service-name", ""))
