# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Redis pods and Services of a cluster, found through the API and asked from outside and from inside."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import ExecResult, exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.portforward import forward
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import (
    Answer,
    Target,
    parse,
    script,
    shares,
    total_timeout,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import RedisError, read_replication
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Pod, Service, Survey
from ansible_collections.celeryops.platform.plugins.module_utils._redis.views import Proxy, Sentinel
from ansible_collections.celeryops.platform.plugins.module_utils._redis.watchers import (
    Group,
    endpoints,
    group,
    proxies,
    sentinels,
)

__all__ = ["AT_ONCE", "Cluster", "find"]

Object = Mapping[str, Any]

# Streams to pods that are open at a time
AT_ONCE = 8
# Pods that play clients, a share of the connections each
CLIENTS = 3


@dataclass(frozen=True)
class Cluster:
    """One StatefulSet of Redis servers, its pods, and the Services that select them."""

    api: Api
    namespace: str
    stateful_set: Object
    pods: tuple[Object, ...]
    services: tuple[Object, ...]
    password: str
    port: int
    suffix: str
    connections: int
    timeout: int
    sentinel: Mapping[str, Any]
    status_port: int
    watchers: Group
    proxies: Group
    master_service: Object | None = None
    # Of the authority, where servers and Sentinels speak TLS: its certificate as PEM, and where that is in their pods
    ca: str = ""
    ca_file: str = ""

    @property
    def client_options(self) -> tuple[str, ...]:
        """What redis-cli in one of the pods is given beside host and port."""
        return ("--tls", "--cacert", self.ca_file) if self.ca else ()

    def host(self, name: str) -> str:
        """A pod's stable name, under the headless Service."""
        return f"{name}.{self.stateful_set['spec']['serviceName']}.{self.suffix}"

    @property
    def sentinel_hosts(self) -> tuple[str, ...]:
        """The names of all Sentinels that there should be, by number."""
        found = self.watchers
        return tuple(f"{found.name}-{number}.{found.service}.{self.suffix}" for number in range(found.wanted))

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the pods whose containers run, by number."""
        return tuple(pod["metadata"]["name"] for pod in self.pods if _runs(pod))

    def survey(self, connections: int | None = None) -> Survey:
        """Every pod's own account, then what clients of the pods' names and of the Services get.

        Each Service is asked over ``connections`` new connections, by default those of the module; the headless one
        leads nobody anywhere, so that each of its addresses is asked once.
        """
        connections = connections or self.connections
        with ThreadPoolExecutor(AT_ONCE) as pool:
            watchers, leaders = pool.submit(self._sentinels), pool.submit(self._proxies)
            pods = list(pool.map(self._pod, self.pods))
        services = [self._service(service) for service in self.services]
        if self.proxies and self.master_service:
            services.append(self._proxied(self.master_service))
        asked = [service for service in services if not service.error]
        targets = [Target(pod.host, self.port) for pod in pods]
        headless = f"{self.stateful_set['spec']['serviceName']}.{self.suffix}"
        targets += [
            Target(service.host, service.port, connections=1 if service.host == headless else connections)
            for service in asked
        ]
        answers = self._ask(targets, pods, write=False)
        by_host = {target.host: got for target, got in zip(targets, answers, strict=True)}
        behind = {one["metadata"]["name"]: (one, self.pods) for one in self.services}
        if self.proxies and self.master_service:
            behind[self.master_service["metadata"]["name"]] = (self.master_service, self.proxies.pods)
        return Survey(
            pods=tuple(replace(pod, answers=by_host[pod.host]) for pod in pods),
            services=tuple(replace(service, answers=by_host.get(service.host, ())) for service in services),
            wanted_pods=int(self.stateful_set["spec"].get("replicas", 1)),
            sentinels=watchers.result(),
            wanted_sentinels=self.watchers.wanted,
            proxies=leaders.result(),
            wanted_proxies=self.proxies.wanted,
            endpoints=endpoints(self.api, self.namespace, behind),
        )

    def _sentinels(self) -> tuple[Sentinel, ...]:
        how = {"port": self.sentinel["port"], "master": self.sentinel["master_name"], "password": self.password}
        return sentinels(self.api, self.namespace, self.watchers, timeout=self.timeout, ca=self.ca, **how)

    def _proxies(self) -> tuple[Proxy, ...]:
        how = {"port": self.status_port, "watching": self.watchers.wanted, "timeout": self.timeout}
        return proxies(self.api, self.namespace, self.proxies, **how)

    def ask(self, targets: Sequence[Target], survey: Survey, *, write: bool) -> tuple[tuple[Answer, ...], ...]:
        """What a client of each target gets over ``connections`` new connections, made in up to three of the pods."""
        return self._ask([replace(one, connections=self.connections) for one in targets], survey.pods, write=write)

    def _ask(self, targets: Sequence[Target], pods: Sequence[Pod], *, write: bool) -> tuple[tuple[Answer, ...], ...]:
        spoke = [pod for pod in pods if pod.replication]
        clients = ([pod for pod in spoke if pod.ready] or spoke[:1])[:CLIENTS]
        if not targets or not clients:
            return tuple(() for _target in targets)
        with ThreadPoolExecutor(len(clients)) as pool:
            parts = [
                pool.submit(self._ask_from, client.name, share, write=write)
                for client, share in zip(clients, shares(targets, len(clients)), strict=True)
                if share
            ]
        answers: list[tuple[Answer, ...]] = [() for _target in targets]
        for part in parts:
            for number, given in part.result().items():
                answers[number] += given
        return tuple(answers)

    def _ask_from(self, pod: str, share: Mapping[int, Target], *, write: bool) -> dict[int, tuple[Answer, ...]]:
        """What a client in that pod gets from each target of its share, under the target's number."""
        targets = [replace(target, options=self.client_options) for target in share.values()]
        mark = secrets.token_hex(8)
        text = script(targets, self.password, mark=mark, seconds=self.timeout, write=write)
        done = self.shell(pod, text, timeout=total_timeout(targets, self.timeout))
        if done.rc != 0:
            raise RedisError(
                f"Pod {pod} could not ask Redis as a client",
                expected="sh, timeout, getent, sed and redis-cli in the image",
                found=done.stderr.strip() or f"exit status {done.rc}",
                remedy="use an image that has them, such as the one of role artifacts",
            )
        return dict(zip(share, parse(done.stdout, len(targets), mark), strict=True))

    def shell(self, pod: str, text: str, *, timeout: float, container: str | None = None) -> ExecResult:
        """Runs a script in a container, by default Redis' own; in the pod's first where the name is empty.

        It goes through standard input: what it holds is in no argument.
        """
        name = self._container()["name"] if container is None else container
        return exec_in_pod(
            self.api, self.namespace, pod, ["sh", "-s"], container=name or None, stdin=text, timeout=timeout
        )

    @property
    def container(self) -> str:
        """The name of the servers' container."""
        return str(self._container()["name"])

    def _container(self) -> Object:
        containers: list[Object] = self.stateful_set["spec"]["template"]["spec"]["containers"]
        listening = (
            container
            for container in containers
            if any(port.get("containerPort") == self.port for port in container.get("ports") or ())
        )
        return next(listening, containers[0])

    def _pod(self, pod: Object) -> Pod:
        name, status = pod["metadata"]["name"], pod.get("status") or {}
        conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
        seen = Pod(
            name=name,
            host=self.host(name),
            address=status.get("podIP", ""),
            node=(pod.get("spec") or {}).get("nodeName", ""),
            ready=conditions.get("Ready") == "True",
        )
        if not _runs(pod):
            return replace(seen, error=_not_running(status))
        try:
            with forward(self.api, self.namespace, name, self.port) as local_port:
                said = read_replication("127.0.0.1", local_port, self.password, timeout=self.timeout, ca=self.ca)
        except RedisError as error:
            return replace(seen, error=str(error))
        return replace(seen, replication=said)

    def _service(self, service: Object) -> Service:
        name, spec = service["metadata"]["name"], service["spec"]
        names = {self.port} | {
            port["name"] for port in self._container().get("ports") or () if port.get("containerPort") == self.port
        }
        ports = [p["port"] for p in spec.get("ports") or () if p.get("targetPort", p["port"]) in names]
        return Service(
            name=name,
            host=f"{name}.{self.suffix}",
            port=ports[0] if ports else 0,
            pods=tuple(pod["metadata"]["name"] for pod in self.pods if _selects(service, pod["metadata"])),
            error="" if ports else f"no port of it leads to port {self.port} of the pods",
        )

    def _proxied(self, service: Object) -> Service:
        """The Service of the proxies, which has no Redis pod behind it."""
        name = service["metadata"]["name"]
        pods = tuple(pod["metadata"]["name"] for pod in self.proxies.pods)
        return Service(name, f"{name}.{self.suffix}", service["spec"]["ports"][0]["port"], pods, proxied=True)


def find(api: Api, params: Mapping[str, Any]) -> Cluster | None:
    """The Redis that the options of ``argspec.REDIS_ARGS`` name; nothing when there is no such StatefulSet."""
    namespace, name = params["namespace"], params["statefulset"]
    stateful_set = api.get(ObjectRef("apps/v1", "StatefulSet", name, namespace))
    if stateful_set is None:
        return None
    pods = [
        pod
        for pod in api.list("v1", "Pod", namespace, label_selector=_label_selector(stateful_set))
        if any(
            owner["uid"] == stateful_set["metadata"]["uid"] for owner in pod["metadata"].get("ownerReferences") or ()
        )
    ]
    pods.sort(key=lambda pod: int(pod["metadata"]["name"].rsplit("-", 1)[1]))
    template = stateful_set["spec"]["template"]["metadata"]
    services = [one for one in api.list("v1", "Service", namespace) if _selects(one, template)]
    proxy = params.get("proxy") or {}
    tls = _tls(stateful_set)
    return Cluster(
        api=api,
        namespace=namespace,
        stateful_set=stateful_set,
        pods=tuple(pods),
        services=tuple(sorted(services, key=lambda one: one["metadata"]["name"])),
        password=_value(api, namespace, **params["password_secret"], what="password"),
        port=params["port"],
        suffix=f"{namespace}.svc.{params['cluster_domain']}",
        connections=params.get("connections", 1),
        timeout=params["timeout"],
        sentinel=params["sentinel"],
        status_port=proxy.get("status_port", 0),
        watchers=group(api, "StatefulSet", params["sentinel"]["statefulset"], namespace),
        proxies=group(api, "Deployment", proxy["deployment"], namespace) if proxy else Group(),
        master_service=api.get(ObjectRef("v1", "Service", proxy["service"], namespace)) if proxy else None,
        ca=_authority(api, namespace, tls["secret"]) if tls else "",
        ca_file=f"{tls['folder']}/ca.crt" if tls else "",
    )


def _tls(stateful_set: Object) -> dict[str, str]:
    """The Secret with the certificate and the folder where it is, where role redis was told one."""
    spec = stateful_set["spec"]["template"]["spec"]
    secrets_ = {one["name"]: one["secret"]["secretName"] for one in spec.get("volumes") or () if "secret" in one}
    for container in spec["containers"]:
        folders = {one.get("value") for one in container.get("env") or () if one["name"] == "REDIS_TLS"}
        for mount in container.get("volumeMounts") or ():
            if mount["mountPath"] in folders and mount["name"] in secrets_:
                return {"secret": secrets_[mount["name"]], "folder": mount["mountPath"]}
    return {}


def _label_selector(stateful_set: Object) -> str:
    labels = stateful_set["spec"]["selector"].get("matchLabels") or {}
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _selects(service: Object, metadata: Object) -> bool:
    selector = service["spec"].get("selector") or {}
    return bool(selector) and selector.items() <= (metadata.get("labels") or {}).items()


def _runs(pod: Object) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (one.get("state") or {}) for one in statuses)


def _not_running(status: Object) -> str:
    for one in status.get("containerStatuses") or ():
        state = one.get("state") or {}
        for kind in ("waiting", "terminated"):
            if kind in state:
                last = ((one.get("lastState") or {}).get("terminated") or {}).get("message", "")
                words = (state[kind].get("reason", ""), state[kind].get("message", ""), last)
                return "its container is not running: " + "; ".join(word.strip() for word in words if word)
    waiting = next((one.get("message", "") for one in status.get("conditions") or () if one["status"] == "False"), "")
    return f"it is {status.get('phase', 'unknown')}" + (f": {waiting}" if waiting else "")


def _authority(api: Api, namespace: str, secret: str) -> str:
    """Its certificate, without the words between certificates that Python would not take."""
    return _value(api, namespace, secret, "ca.crt", what="authority's certificate").encode("ascii", "ignore").decode()


def _value(api: Api, namespace: str, name: str, key: str, *, what: str) -> str:
    if not name:
        return ""
    found = api.get(ObjectRef("v1", "Secret", name, namespace))
    try:
        return base64.b64decode((found or {})["data"][key]).decode("utf-8")
    except KeyError:
        raise KubeError(
            f"The {what} of Redis is not where it should be",
            expected=f"key {key} in Secret {namespace}/{name}",
            found="no such Secret" if found is None else "a Secret without that key",
            remedy="run role redis first, or set password_secret" if what == "password" else "make it anew, as it was",
        ) from None
