# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of a PostgreSQL cluster under Patroni, made one after another while a client writes.

A process is killed from its node: the kernel lets no signal from inside reach the first process of a container. That
takes a privileged pod on the node, which a namespace may forbid; the error then is the API server's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import drill, writer
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

__all__ = ["KINDS", "Drill", "Target"]

Json = dict[str, Any]

# primary-process: PostgreSQL itself is killed; Patroni starts it again in place, unless its primary_start_timeout is 0.
# primary-pod: the pod is gone without a word; it may come back within Patroni's ttl and lead again.
# primary-eviction: the pod is asked to go, as by a drain, and hands over.
KINDS = ("primary-process", "primary-pod", "primary-eviction", "pooler-pod")
_POLL = 0.3
# Writes that have to be acknowledged after a failure before it counts as over.
_SETTLED = 20
_KILL = """
import os, sys
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
for pid in filter(str.isdigit, os.listdir("/proc")):
    if read(f"/proc/{pid}/comm").strip() != "postgres" or sys.argv[1] not in read(f"/proc/{pid}/cgroup"):
        continue
    parent = next(line.split()[1] for line in read(f"/proc/{pid}/status").splitlines() if line.startswith("PPid:"))
    if read(f"/proc/{parent}/comm").strip() != "postgres":
        os.kill(int(pid), 9)
        print(pid)
"""


@dataclass(frozen=True)
class Target:
    """What is written to, as whom. `image` has Python and psycopg: the cluster's own has."""

    host: str
    database: str
    role: str
    secret: str
    image: str
    port: int = 5432
    interval: float = 0.02


@dataclass
class Drill:
    """As a context: the writer runs inside of it, and everything that was made is removed at its end."""

    api: Api
    cluster: PatroniCluster
    target: Target
    timeout: float = 180
    table: str = "celeryops_drill"
    _killers: dict[str, str] = field(default_factory=dict)
    _missing: int = 0

    def __enter__(self) -> Self:
        try:
            made = self.api.create(self._writer())
            wait_for(self.api, [made], self.timeout)
            self._until(lambda: self.seen().acknowledged >= _SETTLED, "a client that writes")
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()
        self._sql(f"DROP TABLE IF EXISTS {self.table};")

    def run(self, kind: str, times: int) -> drill.Report:
        """So many failures of a kind, each when the one before it is over."""
        return drill.Report(kind, tuple(self.strike(kind) for _number in range(times)))

    def strike(self, kind: str) -> drill.Strike:
        """One failure, from a cluster in which nothing is missing to one in which nothing is again."""
        self._until(self.whole, "a cluster in which nothing is missing")
        leader, before = str(self.cluster.leader()), self.seen()
        pod = self._hit(kind, leader)
        if kind.startswith("primary"):
            # Nothing shows it earlier: Patroni's own view is up to a turn of its loop old.
            self._until(lambda: len(self.seen().gaps) > len(before.gaps), "a write that was disturbed and came through")
        self._until(self.whole, "a cluster in which nothing is missing")
        # What the last member's return disturbs belongs to the failure as well.
        settled = self.seen().acknowledged + _SETTLED
        self._until(lambda: self.seen().acknowledged >= settled, "further writes")
        after = self.seen()
        rows = int(self._sql(f"SELECT count(*) FROM {self.table} WHERE n <= {after.acknowledged};"))  # noqa: S608
        leaders = (leader, str(self.cluster.leader()))
        gaps = after.gaps[len(before.gaps) :]
        lost, self._missing = after.acknowledged - rows - self._missing, after.acknowledged - rows
        return drill.strike(kind, pod, leaders, gaps, after.acknowledged, lost)

    def seen(self) -> drill.Seen:
        return drill.seen(self.api.pod_log(self.cluster.namespace, self._name("writer"), "writer"))

    def whole(self) -> bool:
        """All members ready, one leads, the others stream, all poolers ready; in synchronous mode commits wait."""
        stateful = self._get("apps/v1", "StatefulSet", self.cluster.name)
        members, leader = self.cluster.members(), self.cluster.leader()
        replicas = [one for one in members if one.pod != leader]
        streaming = all(one.ready and one.replication == "streaming" for one in replicas)
        complete = len(members) == stateful["spec"]["replicas"] and leader in [one.pod for one in members if one.ready]
        waiting = not self.cluster.configuration().get("synchronous_mode") or self.cluster.synchronous() != ()
        pooler = self._get("apps/v1", "Deployment", f"{self.cluster.name}-pooler")
        poolers = pooler["status"].get("readyReplicas") == pooler["spec"]["replicas"]
        return complete and streaming and waiting and poolers

    def _hit(self, kind: str, leader: str) -> str:
        if kind == "primary-process":
            self._kill(leader)
            return leader
        grace = 0
        if kind in ("primary-pod", "primary-eviction"):
            grace = 0 if kind == "primary-pod" else 60
            victim = self._get("v1", "Pod", leader)
        elif kind == "pooler-pod":
            selector = f"app.kubernetes.io/name=pgbouncer,app.kubernetes.io/instance={self.cluster.name}-pooler"
            found = self.api.list("v1", "Pod", self.cluster.namespace, label_selector=selector)
            # The oldest: each has its turn.
            victim = min(found, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), pod["metadata"]["name"]))
        else:
            raise CeleryOpsError(f"'{kind}' is no failure that can be made", expected=", ".join(KINDS), found=kind)
        self.api.delete(ObjectRef.of(victim), grace_seconds=grace, uid=victim["metadata"]["uid"])
        return str(victim["metadata"]["name"])

    def _kill(self, leader: str) -> None:
        pod = self._get("v1", "Pod", leader)
        node = pod["spec"]["nodeName"]
        container = pod["status"]["containerStatuses"][0]["containerID"].partition("://")[2]
        if node not in self._killers:
            made = self.api.create(self._killer(node, f"{len(self._killers)}"))
            self._killers[node] = made["metadata"]["name"]
            wait_for(self.api, [made], self.timeout)
        command = ["python", "-c", _KILL, container]
        done = exec_in_pod(self.api, self.cluster.namespace, self._killers[node], command, timeout=30)
        if done.rc != 0 or not done.stdout.strip():
            raise CeleryOpsError(
                f"PostgreSQL of pod '{leader}' was not killed",
                expected=f"a process of container {container[:12]} on node {node}",
                found=done.stderr.strip() or "none",
                remedy="See that the namespace allows privileged pods with hostPID, and that PostgreSQL runs.",
            )

    def _writer(self) -> Json:
        target = self.target
        request = {
            **{"host": target.host, "port": target.port, "database": target.database, "interval": target.interval},
            **{"table": self.table, "client": "drill", "fresh": False},
        }
        env = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": target.secret, "key": key}}}
            for name, key in (("WRITER_USER", "username"), ("WRITER_PASSWORD", "password"))
        ]
        source = writer.__loader__.get_source(writer.__name__)  # type: ignore[union-attr]
        container = {
            "command": ["python", "-c", source],
            "env": [*env, {"name": "WRITER_REQUEST", "value": json.dumps(request)}],
        }
        return self._pod("writer", container, {"automountServiceAccountToken": False})

    def _killer(self, node: str, suffix: str) -> Json:
        container = {
            "command": ["sleep", "7200"],
            "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
        }
        spec = {"hostPID": True, "nodeName": node, "tolerations": [{"operator": "Exists"}]}
        return self._pod(f"killer-{suffix}", container, {**spec, "automountServiceAccountToken": False})

    def _pod(self, role: str, container: Json, spec: Json) -> Json:
        resources = {"requests": {"cpu": "50m", "memory": "48Mi"}, "limits": {"cpu": "100m", "memory": "96Mi"}}
        labels = {"app.kubernetes.io/name": "postgresql-drill", "app.kubernetes.io/managed-by": "celeryops"}
        one = {"name": role, "image": self.target.image, "resources": resources, **container}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": self._name(role), "namespace": self.cluster.namespace, "labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "enableServiceLinks": False,
                "restartPolicy": "Never",
                "containers": [one],
                **spec,
            },
        }

    def _name(self, role: str) -> str:
        return f"{self.cluster.name}-drill-{role}"

    def _remove(self) -> None:
        for name in (self._name("writer"), *self._killers.values()):
            self.api.delete(ObjectRef("v1", "Pod", name, self.cluster.namespace), grace_seconds=0)

    def _sql(self, statements: str) -> str:
        """As the role that writes, at the primary itself."""
        found = self.cluster.credentials(self.target.secret, self.target.role)
        if found is None:
            raise CeleryOpsError(
                "The drill's credentials are gone", expected=f"Secret {self.target.secret}", found="none"
            )
        pod = self.cluster.wait_for_leader(self.timeout)
        signing = {"user": found.username, "password": found.password, "database": self.target.database}
        return self.cluster.sql_as(pod, statements, host=self.cluster.name, **signing)

    def _get(self, api_version: str, kind: str, name: str) -> Json:
        found = self.api.get(ObjectRef(api_version, kind, name, self.cluster.namespace))
        if found is None:
            raise CeleryOpsError(
                f"{kind} '{name}' is gone",
                expected=f"{kind} {name} in namespace {self.cluster.namespace}",
                found="none",
                remedy="Bring the platform up again.",
            )
        return found

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.timeout
        while not holds():
            if time.monotonic() > deadline:
                raise CeleryOpsError(
                    f"The drill waited in vain for {what}",
                    expected=f"{what} within {self.timeout:g} s",
                    found=", ".join(f"{m.pod}: {m.role}, {m.state}, {m.replication}" for m in self.cluster.members()),
                    remedy="Read the logs of the pods that are named.",
                )
            time.sleep(_POLL)
