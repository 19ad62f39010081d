# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks from inside: the application in a container of its own that runs, else redis-cli in a pod of Redis."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.variables import BROKER, first
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Pod, Workload
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.wish import Wish
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._redis import probe

__all__ = ["ask", "place_of", "redis_pods", "shut", "trust_of", "visit"]

Json = dict[str, Any]
Note = Callable[[str, CeleryOpsError | str], None]  # pylint: disable=unsupported-binary-operation
# Sections that only the application can answer
SECTIONS = ("database", "shm", "logging", "control")
# Seconds after which a lock that is waited for is told
LOCKED = 60.0
# More pools than this are asked about by their logs and pods.
MOST_VISITS = 6
# Images in which redis-cli is looked for
MOST_IMAGES = 3
_BANNER = re.compile(r"\.> transport: +(\S+)")


def visit(api: Api, wish: Wish, seen: Snapshot, pool: ThreadPoolExecutor, note: Note) -> list[Json]:
    """One container of each kind of Deployment, side by side; the first of them is asked about all workers as well.

    Deployments with the same image and environment are of one kind: to load the application again costs a second of
    processor time, and would tell the same.
    """
    kinds: dict[str, list[tuple[Workload, Pod]]] = {}
    for one in seen.celery:
        pod = _enterable(one)
        if pod is not None:
            kinds.setdefault(_kind(one), []).append((one, pod))
    places = list(kinds.values())[:MOST_VISITS]
    if not places:
        for section in SECTIONS:
            note(section, "no container of Celery runs that could be entered")
        return []
    workers = [pod for pod in seen.pods("worker") if pod.main.state == "running"]
    # Nobody is waited for who is not up, nor asked again for who may not be yet.
    expected = {"workers": len(workers), "settled": sum(pod.settled for pod in workers)}

    def enter(place: tuple[int, list[tuple[Workload, Pod]]]) -> Json | None:
        number, alike = place
        workload, pod = min(alike, key=lambda one: not one[1].ready)
        answer = _enter(api, wish, workload, pod, {**expected, "whole": number == 0}, note)
        return answer and {**answer, "workloads": [one.name for one, _pod in alike]}

    return [answer for answer in pool.map(enter, enumerate(places)) if answer]


def _kind(workload: Workload) -> str:
    """What decides on how the application sees the world; the probes' own variables do not."""
    container = workload.container
    env = [one for one in container.get("env") or () if not one["name"].startswith("CELERYOPS_")]
    names = [workload.option("-A", "--app"), container.get("image"), container.get("envFrom") or []]
    return json.dumps([*names, sorted(env, key=lambda one: str(one["name"]))], sort_keys=True)


def _enterable(workload: Workload) -> Pod | None:
    """A pod whose main container runs: a ready one where there is one, and of those the newest."""
    running = [pod for pod in workload.pods if not pod.leaving and pod.main.state == "running"]
    return min(running, key=lambda pod: (not pod.ready, pod.age), default=None)


def _enter(api: Api, wish: Wish, workload: Workload, pod: Pod, also: Json, note: Note) -> Json | None:
    request = {
        "app": wish.app or workload.option("-A", "--app") or "celery",
        "queues": list(wish.queues),
        "connections": wish.connections,
        "within": wish.within,
        "locked": LOCKED,
        **also,
    }
    command, packed = shipment.visit(wish.python, "doctor", request, ())
    try:
        done = exec_in_pod(
            api,
            wish.namespace,
            pod.name,
            command,
            container=pod.main.name,
            stdin=packed,
            timeout=wish.timeout,
        )
        answer = shipment.interpret(shipment.Outcome(done.rc, f"{done.stderr}\n{done.stdout}"))
    except CeleryOpsError as problem:
        note(f"the application in pod/{pod.name}", problem)
        return None
    return {"pod": pod.name, "container": pod.main.name, **answer}


def shut(seen: Snapshot) -> list[str]:
    """Deployments of which no container runs, and whose broker's URL is known from their environment."""
    return [one.name for one in seen.celery if _enterable(one) is None and first(seen, one, BROKER)]


def ask(
    api: Api,
    wish: Wish,
    seen: Snapshot,
    known: Iterable[Json],
    raw: Mapping[str, list[Json]],
    secrets_: list[Json],
    note: Note,
    only: Iterable[str] | None = None,
) -> list[Json]:
    """ROLE at the URLs that new pods get (of `only` these Deployments, and who has the same), from a pod of Redis.

    Not where the application or somebody before has told already: a pod that runs has the URL of when it started.
    """
    told = {(name, place_of(url)) for one in known for name in one["workloads"] if (url := _told_url(one))}
    urls: dict[str, list[str]] = {}
    for workload in seen.celery:
        url = _url(seen, workload)
        if url and (workload.name, place_of(url)) not in told:
            urls.setdefault(url, []).append(workload.name)
    if only is not None:
        urls = {url: names for url, names in urls.items() if not set(only).isdisjoint(names)}
    targets = [(url, names, target) for url, names in urls.items() if (target := _target(url, wish.connections))]
    if not targets:
        if not told and only is None:
            note("broker", "no container of Celery runs that could be entered, and no URL of the broker is known")
        return []
    places = redis_pods(raw, [target.host for _url_, _names, target in targets])
    if not places:
        note("broker", "no container of Celery runs, nor a pod of Redis from which redis-cli could ask")
        return []
    mark, seconds = secrets.token_hex(8), max(1, int(wish.within))
    for pod, container in places:
        trust = next(trust_of(one) for one in raw["Pod"] if one["metadata"]["name"] == pod)
        wanted = [
            replace(target, options=trust) if url.startswith("rediss:") else target for url, _names, target in targets
        ]
        script = probe.script(wanted, _password(seen, secrets_, targets[0][1]), mark=mark, seconds=seconds)
        limit = probe.total_timeout(wanted, seconds)
        try:
            done = exec_in_pod(api, wish.namespace, pod, ["sh", "-s"], container=container, stdin=script, timeout=limit)
        except CeleryOpsError as problem:
            note("broker", problem)
            return []
        if done.rc == 0:
            break
    else:
        note("broker", f"redis-cli in pod/{pod}: {done.stderr.strip() or f'exit status {done.rc}'}")
        return []
    return [
        {
            "pod": pod,
            "workloads": names,
            "url": url,
            "roles": [one.role for one in got if one.role],
            "errors": list(dict.fromkeys(one.error for one in got if one.error and one.role in ("", "master"))),
        }
        for (url, names, _target_), got in zip(targets, probe.parse(done.stdout, len(targets), mark), strict=True)
    ]


def _told_url(one: Json) -> str:
    """The URL that an answer speaks of: an application's, or redis-cli's."""
    return str((one.get("broker") or one).get("url") or "")


def _url(seen: Snapshot, workload: Workload) -> str:
    """The broker's URL without credentials: as the environment has it, else as a worker printed it."""
    variable = first(seen, workload, BROKER)
    if variable and variable.endpoint:
        return variable.endpoint
    for pod in workload.pods:
        for line in pod.main.lines:
            match = _BANNER.search(line)
            if match:
                parts = urlsplit(match[1])
                return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.replace('//', '/')}"
    return ""


def place_of(url: str) -> tuple[str, str, str]:
    """What of a URL says where it leads: scheme, host and port, database."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2], parts.path.strip("/") or "0"


def _target(url: str, connections: int) -> probe.Target | None:
    try:
        parts = urlsplit(url)
        port = parts.port or 6379
    except ValueError:
        return None
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        return None
    database = parts.path.strip("/")
    return probe.Target(parts.hostname, port, int(database) if database.isdigit() else 0, connections)


def trust_of(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """redis-cli's options in this pod for a URL that speaks of TLS.

    One of role redis knows the authority's certificate; in another, whom the application trusts is not to be had.
    """
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or ():
            if variable["name"] == "REDIS_TLS":
                return ("--tls", "--cacert", f"{variable['value']}/ca.crt")
    return ("--tls", "--insecure")


def redis_pods(raw: Mapping[str, list[Json]], hosts: list[str]) -> list[tuple[str, str]]:
    """(pod, container) that run and may have redis-cli, one of each image: first those behind the host's own Service,
    which may be a proxy's, then any whose image says that it is Redis."""
    running = [
        (pod, container)
        for pod in raw.get("Pod", [])
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
        if "running" in (container.get("state") or {}) and not pod["metadata"].get("deletionTimestamp")
    ]
    selectors = [
        (one["spec"].get("selector") or {}).items()
        for one in raw.get("Service", [])
        for host in hosts
        if one["metadata"]["name"] in host.split(".")[:2] and one["spec"].get("selector")
    ]
    behind = [
        (pod, container)
        for pod, container in running
        if any(wanted <= (pod["metadata"].get("labels") or {}).items() for wanted in selectors)
    ]
    named = [
        (pod, container)
        for pod, container in running
        if "redis" in container["name"] or "redis" in str(container.get("image")).rpartition("/")[2]
    ]
    found: dict[str, tuple[str, str]] = {}
    for pod, container in (*behind, *named):
        found.setdefault(str(container.get("image")), (pod["metadata"]["name"], container["name"]))
    return list(found.values())[:MOST_IMAGES]


def _password(seen: Snapshot, secrets_: list[Json], workloads: list[str]) -> str:
    """Of the broker, as the pods get it. It leaves this process through standard input only."""
    values = {
        (one["metadata"]["name"], key): base64.b64decode(value).decode("utf-8", "replace")
        for one in secrets_
        for key, value in (one.get("data") or {}).items()
    }
    workload = next(one for one in seen.celery if one.name == workloads[0])
    for entry in workload.container.get("env") or ():
        ref = (entry.get("valueFrom") or {}).get("secretKeyRef")
        if ref and re.search(r"REDIS|BROKER", entry["name"]) and (ref["name"], ref["key"]) in values:
            value = values[ref["name"], ref["key"]]
            return unquote(urlsplit(value).password or "") if "://" in value else value
    for source in workload.container.get("envFrom") or ():
        name = (source.get("secretRef") or {}).get("name")
        for variable in (*BROKER, "REDIS_PASSWORD"):
            found = values.get((name, variable))
            if found:
                return unquote(urlsplit(found).password or "") if "://" in found else found
    return ""
