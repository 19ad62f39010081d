# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills the Redis master of a cluster, time and again, under a client that writes."""

from __future__ import annotations

import inspect
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._redis import drill_writer
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import Cluster, find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill import Round, round_of
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import HEALTHY

__all__ = ["POD", "PROCESS", "Writer", "run_rounds"]

PROCESS, POD = "process", "pod"
# The first process of a container cannot be killed from inside; with an init before it the server can.
_KILL = r"""
for process in /proc/[0-9]*; do
  read -r name <"$process/comm" || continue
  if [ "$name" = redis-server ] && [ "${process#/proc/}" -ne 1 ]; then kill -9 "${process#/proc/}"; exit 0; fi
done
echo "no redis-server beside the container's first process" >&2
exit 4
"""
_PAUSE = 2.0


@dataclass(frozen=True)
class Writer:
    """Where the client runs and what it writes to: a container with Python, and the name that applications use."""

    pod: str
    container: str
    python: str
    host: str
    port: int
    replicas: int = 0
    lead: float = 3.0
    quiet: float = 5.0
    most: float = 120.0
    interval: float = 0.02
    timeout: float = 2.0


def run_rounds(api: Api, params: Mapping[str, Any], writer: Writer, kill: str, rounds: int) -> list[Round]:
    """As many kills of whoever is the master. Each begins on a healthy group; raises CeleryOpsError when it is not."""
    return [_round(api, params, writer, kill) for _number in range(rounds)]


def _round(api: Api, params: Mapping[str, Any], writer: Writer, kill: str) -> Round:
    cluster, victim = _healthy(api, params, writer.most)
    answers: list[dict[str, Any]] = []
    failures: list[Exception] = []

    def write() -> None:
        try:
            answers.append(_write(api, cluster, writer))
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    time.sleep(writer.lead)
    killed_at = _kill(api, cluster, writer, victim, kill)
    thread.join()
    if failures:
        raise failures[0]
    _again, successor = _healthy(api, params, writer.most)
    return round_of(kill, victim, successor, killed_at, answers[0])


def _write(api: Api, cluster: Cluster, writer: Writer) -> dict[str, Any]:
    options = {
        "host": writer.host,
        "port": writer.port,
        "password": cluster.password,
        "ca": cluster.ca,
        "key": f"celeryops:drill:{secrets.token_hex(8)}",
        "replicas": writer.replicas,
        "interval": writer.interval,
        "timeout": writer.timeout,
        "least": writer.lead + writer.quiet,
        "quiet": writer.quiet,
        "most": writer.most,
    }
    # JSON is text of Python too where a string holds it.
    text = f"{inspect.getsource(drill_writer)}\nmain(json.loads({json.dumps(options)!r}))\n"
    done = _python(api, cluster, writer, text, writer.most + 60)
    answer: dict[str, Any] = json.loads(done)
    return answer


def _python(api: Api, cluster: Cluster, writer: Writer, text: str, timeout: float) -> str:
    command = [writer.python, "-"]
    done = exec_in_pod(
        api, cluster.namespace, writer.pod, command, container=writer.container, stdin=text, timeout=timeout
    )
    if done.rc != 0:
        raise CeleryOpsError(
            f"The drill's client in pod {writer.pod} failed",
            expected="a container with Python that reaches Redis",
            found=done.stderr.strip()[-500:] or f"exit status {done.rc}",
            remedy="see that the pod runs, and that its own broker connection works",
        )
    return done.stdout


def _kill(api: Api, cluster: Cluster, writer: Writer, victim: str, kill: str) -> float:
    """When the master was killed, by the clock of the pod in which the client runs."""
    clock = float(_python(api, cluster, writer, "import time; print(time.time())", 30))
    since = time.monotonic()
    if kill == POD:
        api.delete(ObjectRef("v1", "Pod", victim, cluster.namespace), grace_seconds=0)
    else:
        _kill_process(cluster, victim)
    return clock + (time.monotonic() - since)


def _kill_process(cluster: Cluster, victim: str) -> None:
    try:
        done = cluster.shell(victim, _KILL, timeout=30)
    except KubeError:
        # The container may be gone before it could say how the command ended; what follows shows whether it is.
        return
    if done.rc == 4:
        raise CeleryOpsError(
            f"The server in pod {victim} cannot be killed from inside",
            expected="an image whose first process is an init, such as catatonit",
            found=done.stderr.strip(),
            remedy="kill it from its node, or drill with pods",
        )


def _healthy(api: Api, params: Mapping[str, Any], patience: float) -> tuple[Cluster, str]:
    """The cluster, and its master that everybody agrees on."""
    end = time.monotonic() + patience
    while True:
        cluster = find(api, params)
        survey = cluster.survey() if cluster else None
        if cluster and survey and survey.master and survey.verdict == HEALTHY:
            return cluster, survey.master.name
        if time.monotonic() > end:
            raise CeleryOpsError(
                "Redis is not in the state in which a round of the drill begins and ends",
                expected="one master that all others follow, and nobody who disagrees",
                found="; ".join(survey.disagreements) if survey else "no such StatefulSet",
                remedy="see celeryops.platform.redis_master_info; what it names has to heal first",
            )
        time.sleep(_PAUSE)
