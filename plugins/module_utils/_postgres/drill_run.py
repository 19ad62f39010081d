# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of a PostgreSQL cluster under Patroni, made one after another while a client writes."""

from __future__ import annotations

import inspect
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.client import client_pod
from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import Hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round, Struck
from ansible_collections.celeryops.platform.plugins.module_utils._drill.waiting import in_vain, wait_until
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for
from ansible_collections.celeryops.platform.plugins.module_utils._postgres import drill, writer
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster

__all__ = ["PostgreSQL", "Target"]

Json = dict[str, Any]

# Each failure with the seconds that the pod is given to end; None is for a process that is killed.
# postgresql_primary_process: PostgreSQL itself; Patroni starts it again, unless its primary_start_timeout is 0.
# postgresql_primary_pod: gone without a word; it may come back within Patroni's ttl and lead again.
# postgresql_primary_eviction: asked to go, as by a drain, so that it hands over.
_GRACE = {
    "postgresql_primary_process": None,
    "postgresql_primary_pod": 0,
    "postgresql_primary_eviction": 60,
    "postgresql_pooler_pod": 0,
}
_POLL = 0.5
# Writes that have to be acknowledged after a failure before it counts as over.
_SETTLED = 20


@dataclass(frozen=True)
class Target:
    """What is written to, as whom. ``image`` has Python and psycopg: the cluster's own has, which "" stands for."""

    host: str
    database: str
    role: str
    secret: str
    image: str = ""
    port: int = 5432
    interval: float = 0.02


@dataclass
class PostgreSQL:
    """An Engine of _drill."""

    api: Api
    cluster: PatroniCluster
    target: Target
    hands: Hands
    timeout: float = 180
    table: str = "celeryops_drill"
    name: str = "postgresql"
    _writer: str = ""
    _missing: int = 0
    _leader: str = ""
    _before: drill.Seen = field(default_factory=drill.Seen)
    _expected: bool = False

    def refuse(self) -> None:
        if not self.cluster.exists():
            raise CeleryOpsError(
                f"there is no PostgreSQL cluster '{self.cluster.name}' to drill",
                expected=f"StatefulSet {self.cluster.name} in namespace {self.cluster.namespace}, run by Patroni",
                found="none",
                remedy="name the cluster, or leave the drills of PostgreSQL out where it is somebody else's",
            )
        if not self.whole():
            raise self._vain("a cluster in which nothing is missing", 0)

    def open(self, avoid: str = "") -> None:
        # What an earlier drill that was cut short may have left.
        self._sql(f"DROP TABLE IF EXISTS {self.table};")
        made = self.api.create(self._pod(avoid))
        self._writer, self._missing = str(made["metadata"]["name"]), 0
        wait_for(self.api, [made], self.timeout)
        self._until(lambda: self.seen().acknowledged >= _SETTLED, "a client that writes")

    def begin(self) -> None:
        self._until(self.whole, "a cluster in which nothing is missing")
        self._leader, self._before, self._expected = str(self.cluster.leader()), self.seen(), False

    def hit(self, kind: str, struck: Struck) -> str:
        grace = _GRACE[kind]
        if kind == "postgresql_pooler_pod":
            selector = f"app.kubernetes.io/name=pgbouncer,app.kubernetes.io/instance={self.cluster.name}-pooler"
            found = self.api.list("v1", "Pod", self.cluster.namespace, label_selector=selector)
            # The oldest: each has its turn.
            victim = min(found, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), pod["metadata"]["name"]))
        else:
            self._expected = True
            victim = self._get("v1", "Pod", self._leader)
        if grace is None:
            # Patroni goes on, and has to see that it is gone.
            struck(self.hands.kill(victim, process="postgres"))
        else:
            struck(None)
            self.api.delete(ObjectRef.of(victim), grace_seconds=grace, uid=victim["metadata"]["uid"])
        return str(victim["metadata"]["name"])

    def end(self, victim: str) -> Round:
        before = self._before
        if self._expected:
            # Nothing shows it earlier: Patroni's own view is up to a turn of its loop old.
            self._until(lambda: len(self.seen().gaps) > len(before.gaps), "a write that was disturbed and came through")
        self._until(self.whole, "a cluster in which nothing is missing")
        # What the last member's return disturbs belongs to the failure as well.
        settled = self.seen().acknowledged + _SETTLED
        self._until(lambda: self.seen().acknowledged >= settled, "further writes")
        after = self.seen()
        rows = int(self._sql(f"SELECT count(*) FROM {self.table} WHERE n <= {after.acknowledged};"))  # noqa: S608
        leaders = (self._leader, str(self.cluster.leader()))
        lost, self._missing = after.acknowledged - rows - self._missing, after.acknowledged - rows
        acknowledged = after.acknowledged - before.acknowledged
        return drill.round_of(victim, leaders, after.gaps[len(before.gaps) :], acknowledged, lost)

    def close(self) -> None:
        if self._writer:
            self.api.delete(ObjectRef("v1", "Pod", self._writer, self.cluster.namespace), grace_seconds=0)
            self._writer = ""
            self._sql(f"DROP TABLE IF EXISTS {self.table};")

    def waits(self) -> bool:
        return bool(self.cluster.configuration().get("synchronous_mode"))

    def seen(self) -> drill.Seen:
        return drill.seen(self.api.pod_log(self.cluster.namespace, self._writer, "client"))

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

    def _pod(self, avoid: str) -> Json:
        target = self.target
        stateful = self._get("apps/v1", "StatefulSet", self.cluster.name)["spec"]["template"]["spec"]
        request = {
            **{"host": target.host, "port": target.port, "database": target.database, "interval": target.interval},
            **{"table": self.table, "client": "drill", "fresh": False},
        }
        env: list[Json] = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": target.secret, "key": key}}}
            for name, key in (("WRITER_USER", "username"), ("WRITER_PASSWORD", "password"))
        ]
        env.append({"name": "WRITER_REQUEST", "value": json.dumps(request)})
        return client_pod(
            f"celeryops-drill-postgresql-{secrets.token_hex(3)}",
            self.cluster.namespace,
            target.image or stateful["containers"][0]["image"],
            ["python", "-c", inspect.getsource(writer)],
            env=env,
            avoid=avoid,
            imagePullSecrets=stateful.get("imagePullSecrets") or [],
            # The user of the cluster's image
            securityContext={},
        )

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
        wait_until(holds, self.timeout, lambda: self._vain(what, self.timeout), _POLL)

    def _vain(self, what: str, timeout: float) -> CeleryOpsError:
        found = ", ".join(f"{m.pod}: {m.role}, {m.state}, {m.replication}" for m in self.cluster.members())
        return in_vain(what, timeout, found, "Read the logs of the pods that are named.")
