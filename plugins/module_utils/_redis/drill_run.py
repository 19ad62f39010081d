# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of Redis, Sentinel and proxy, made one after another under a client that writes."""

from __future__ import annotations

import inspect
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.client import client_pod
from ansible_collections.celeryops.platform.plugins.module_utils._drill.hands import Hands
from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round, Struck
from ansible_collections.celeryops.platform.plugins.module_utils._drill.waiting import in_vain, wait_until
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for
from ansible_collections.celeryops.platform.plugins.module_utils._redis import drill_writer
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import Cluster, find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill import round_of
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import HEALTHY

__all__ = ["Redis"]

Json = dict[str, Any]
_PAUSE = 1.0
# Seconds: that it writes before a failure; without one, until a failure counts as over; for one connection or answer
_LEAD, _QUIET, _ANSWER = 1.0, 8.0, 2.0
_INTERVAL = 0.02
# In the client's pod: it has begun to write, and it may end
_THERE = "import os, sys; sys.exit(not os.path.exists(sys.argv[1]))"
_TOUCH = "import sys; open(sys.argv[1], 'w').close()"


@dataclass
class Redis:
    """``params``: the options of find(). ``image`` and ``python``: what the client runs in. An Engine of _drill."""

    api: Api
    params: Mapping[str, Any]
    hands: Hands
    image: str
    python: str
    timeout: float
    pull_secrets: list[Json] = field(default_factory=list)
    name: str = "redis"
    _client: Json = field(default_factory=dict)
    _began: str = ""
    _cluster: Cluster | None = None
    _mark: str = ""
    _thread: threading.Thread | None = None
    _answers: list[Json] = field(default_factory=list)
    _failures: list[Exception] = field(default_factory=list)

    def refuse(self) -> None:
        cluster, _master = self._healthy(0)
        if not cluster.master_service:
            raise CeleryOpsError(
                "Redis is not led to by a proxy",
                expected=f"Service {self.params['proxy']['service']}, which leads a client to the master",
                found="none",
                remedy="the drill's client knows no other way to the master: drill in mode proxy of role redis",
            )

    def open(self, avoid: str = "") -> None:
        namespace = self.params["namespace"]
        command = [self.python, "-c", "import time; time.sleep(14400)"]
        name = f"celeryops-drill-redis-{secrets.token_hex(3)}"
        pod = client_pod(name, namespace, self.image, command, avoid=avoid, imagePullSecrets=self.pull_secrets)
        self._client = self.api.create(pod)
        wait_for(self.api, [self._client], self.timeout)

    def begin(self) -> None:
        cluster, self._began = self._healthy(self.timeout)
        self._cluster = cluster
        self._answers, self._failures = [], []
        self._mark = f"/tmp/celeryops-{secrets.token_hex(4)}"  # noqa: S108 - in a pod that has one tenant

        def write() -> None:
            try:
                self._answers.append(self._write(cluster))
            except Exception as error:
                self._failures.append(error)

        self._thread = threading.Thread(target=write, daemon=True)
        self._thread.start()
        self._until(lambda: bool(self._failures) or self._run([_THERE, self._mark]).rc == 0, "a client that writes")
        if self._failures:
            raise self._failures[0]
        time.sleep(_LEAD)

    def hit(self, kind: str, struck: Struck) -> str:
        cluster = self._cluster or self._healthy(0)[0]
        group = {"redis_sentinel_pod": cluster.watchers, "redis_proxy_pod": cluster.proxies}.get(kind)
        masters = [pod for pod in cluster.pods if pod["metadata"]["name"] == self._began]
        pods = masters if group is None else group.pods
        if not pods:
            raise CeleryOpsError(
                f"there is nothing for {kind}", expected="a pod of that kind", found="none", remedy="drill another kind"
            )
        # The oldest: each has its turn.
        victim = dict(min(pods, key=lambda pod: (str(pod["metadata"]["creationTimestamp"]), pod["metadata"]["name"])))
        if kind == "redis_master_process":
            struck(self.hands.kill(victim, cluster.container))
        else:
            struck(None)
            ref = ObjectRef("v1", "Pod", victim["metadata"]["name"], cluster.namespace)
            self.api.delete(ref, grace_seconds=0, uid=victim["metadata"]["uid"])
        return str(victim["metadata"]["name"])

    def end(self, victim: str) -> Round:
        self._run([_TOUCH, f"{self._mark}.end"])
        if self._thread:
            self._thread.join()
        if self._failures:
            raise self._failures[0]
        _again, after = self._healthy(self.timeout)
        answer = self._answers[0]
        return round_of(victim, (self._began, after), answer["began"] + _LEAD / 2, answer)

    def close(self) -> None:
        if self._client:
            meta = self._client["metadata"]
            self.api.delete(ObjectRef("v1", "Pod", meta["name"], meta["namespace"]), grace_seconds=0)
            self._client = {}

    def waits(self) -> bool:
        return False

    def _write(self, cluster: Cluster) -> Json:
        service = cluster.master_service or {}
        options = {
            "host": f"{service['metadata']['name']}.{cluster.suffix}",
            "port": service["spec"]["ports"][0]["port"],
            "password": cluster.password,
            "ca": cluster.ca,
            "key": f"celeryops:drill:{secrets.token_hex(8)}",
            "replicas": 0,
            "interval": _INTERVAL,
            "timeout": _ANSWER,
            "least": 0.0,
            "quiet": _QUIET,
            "most": self.timeout,
            "mark": self._mark,
        }
        # JSON is text of Python too where a string holds it.
        text = f"{inspect.getsource(drill_writer)}\nmain(json.loads({json.dumps(options)!r}))\n"
        done = self._run(["-"], text, self.timeout + 60)
        if done.rc != 0:
            raise CeleryOpsError(
                "The drill's client of Redis failed",
                expected="a pod with Python that reaches Redis",
                found=done.stderr.strip()[-500:] or f"exit status {done.rc}",
                remedy="see that pods of the workers' image reach the broker, and that Redis comes back in time",
            )
        answer: Json = json.loads(done.stdout)
        return answer

    def _run(self, words: list[str], stdin: str | None = None, timeout: float = 60) -> Any:
        """Python in the client's pod: a program and its arguments, or what it reads."""
        meta = self._client["metadata"]
        command = [self.python, *(words if stdin else ["-c", *words])]
        return exec_in_pod(self.api, meta["namespace"], meta["name"], command, stdin=stdin, timeout=timeout)

    def _healthy(self, patience: float) -> tuple[Cluster, str]:
        """The cluster, and its master that everybody agrees on."""
        end = time.monotonic() + patience
        while True:
            cluster = find(self.api, self.params)
            survey = cluster.survey() if cluster else None
            if cluster and survey and survey.master and survey.verdict == HEALTHY:
                return cluster, survey.master.name
            if time.monotonic() > end:
                raise CeleryOpsError(
                    "Redis is not in the state in which a round of a drill begins and ends",
                    expected="one master that all others follow, and nobody who disagrees",
                    found="; ".join(survey.disagreements) if survey else "no such StatefulSet",
                    remedy="see celeryops.platform.redis_master_info; what it names has to heal first",
                )
            time.sleep(_PAUSE)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        remedy = "see that pods of the workers' image reach the broker"
        wait_until(holds, self.timeout, lambda: in_vain(what, self.timeout, "none", remedy), _PAUSE)
