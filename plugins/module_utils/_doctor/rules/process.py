# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a worker's process ends by itself: shared memory, a fault of Celery's, a start together with others, silence."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Container, Pod, Workload

__all__ = ["RULES"]

_SEMAPHORE = r"SemLock"
_SHM_ERROR = r"(FileNotFoundError|OSError|PermissionError)[:(] ?(\[Errno )?(2|13|28|30)\b"
_RECONNECT = r"'NoneType' object has no attribute 'hostname'"
_BANNER = (
    r"celery@\S+ v\d|^ ?-------------- |\[(config|queues|tasks)\]|^ *\. \S+$|\.> (app|transport|results|concurrency)"
)
_SPEAKS = r"(?i)error|exception|traceback|critical|warning|\b(info|debug)\b|ready\."
_TOGETHER = 10.0


def shared_memory(seen: Snapshot) -> Iterator[Verdict]:
    """Prefork's semaphores live in /dev/shm; other kinds of pool do without."""
    cause = "shared-memory"
    pods, lines = quotes(seen.started("worker"), _SEMAPHORE)
    pods, lines = (pods, quotes(pods, _SHM_ERROR)[1] or lines) if pods else ((), ())
    failed = [(visit, answer) for visit, answer in seen.visited("shm") if answer.get("error")]
    mounts = [(one, told) for one in seen.of("worker") for told in _mount_faults(one)]
    silent = [pod for pod in seen.started("worker") if any(pod.workload == one.name for one, _told in mounts)]
    if not (pods or failed or silent):
        looked = [visit["pod"] for visit, answer in seen.visited("shm") if not answer.get("error")]
        if looked:
            yield RuledOut(cause, f"a file was written to /dev/shm of pod/{looked[0]} by the worker's own user")
        else:
            yield Unseen(cause, seen.gap("shm") or "no worker's container runs in which /dev/shm could be written to")
        return
    affected = tuple(dict.fromkeys((*pods, *silent, *(pod for pod in seen.started("worker") if failed))))
    yield Finding(
        cause,
        f"{names(affected) or 'The workers'} cannot make prefork's semaphores: its /dev/shm cannot be used",
        Stage.PROCESS,
        Confidence.CERTAIN if failed or (pods and mounts) else Confidence.LIKELY,
        (
            *(
                Evidence(f"a write test in pod/{visit['pod']}", trimmed(str(answer["error"])))
                for visit, answer in failed[:1]
            ),
            *lines[:2],
            *(Evidence(f"template of {one.subject}", told) for one, told in mounts[:1]),
        ),
        "celery_worker_shm_size: 128Mi mounts a tmpfs of mode 1777 there; or celery_worker_pool: threads, which needs "
        "none",
        explained(affected),
    )


def _mount_faults(workload: Workload) -> Iterator[str]:
    """What a template shows of a /dev/shm that cannot be written to."""
    if (workload.option("-P", "--pool") or "prefork") not in ("prefork", "processes"):
        return
    volumes = {one["name"]: one for one in workload.spec.get("volumes") or ()}
    for mount in workload.container.get("volumeMounts") or ():
        if mount["mountPath"].rstrip("/") != "/dev/shm":  # noqa: S108
            continue
        volume = volumes.get(mount["name"]) or {}
        if mount.get("readOnly"):
            yield f"volume {mount['name']} is mounted at /dev/shm with readOnly: true"
        for kind in ("configMap", "secret", "downwardAPI", "projected"):
            if kind in volume:
                yield f"volume {mount['name']} at /dev/shm is a {kind}, which is read-only"


def reconnect_fault(seen: Snapshot) -> Iterator[Verdict]:
    cause = "celery-reconnect"
    pods, lines = quotes(seen.pods("worker"), _RECONNECT)
    if not pods:
        yield RuledOut(cause, "no log has Celery 5.7.0's error after a lost broker")
        return
    yield Finding(
        cause,
        f"Celery 5.7.0 ends the worker when the broker was away during a late-acked task: {names(pods)}",
        Stage.PROCESS,
        Confidence.LIKELY,
        lines,
        "build the image with celery==5.6.3, which survives it",
        explained(pods),
    )


def simultaneous_start(seen: Snapshot) -> Iterator[Verdict]:
    """All pods of a pool start at the same moment, and some of them do not live through it."""
    cause = "simultaneous-start"
    for workload in seen.of("worker"):
        pods = [pod for pod in workload.pods if not pod.leaving]
        ended = [pod for pod in pods if pod.troubled and pod.main.restarts and pod.main.exit_code not in (None, 0)]
        made = sorted(pod.age for pod in pods)
        together = len(made) > 1 and made[-1] - made[0] < _TOGETHER
        staggered = any("stagger" in " ".join(map(str, one.get("command") or ())) for one in workload.containers)
        if len(ended) < 2 or not together or staggered:
            continue
        yield Finding(
            cause,
            f"{len(pods)} pods of {workload.subject} start at the same moment, and {len(ended)} of them end",
            Stage.PROCESS,
            Confidence.POSSIBLE,
            tuple(
                Evidence(
                    f"container {pod.main.name} of {pod.subject}",
                    f"made {pod.age:.0f} s ago, ended {pod.main.restarts} times, last with exit code "
                    f"{pod.main.exit_code}",
                )
                for pod in ended[:3]
            ),
            "celery_pod_stagger_mode: random or hash spreads the starts (celery_pod_stagger_min, "
            "celery_pod_stagger_max); "
            "raise the CPU limit in celery_worker_resources",
            explained(ended),
            consequence=True,
        )
        return
    yield RuledOut(cause, "no two pods that were made together end again and again, or their starts are staggered")


def silence(seen: Snapshot) -> Iterator[Verdict]:
    """Django's LOGGING with disable_existing_loggers left at true: whatever kills the worker, it says nothing."""
    cause = "silent-logging"
    read = {(one["pod"], one["container"]) for one in seen.logs}
    mute = [
        pod
        for pod in seen.started("worker", "beat")
        if _is_silent(pod.main) and (pod.main.lines or (pod.name, pod.main.name) in read)
    ]
    disabled = [(visit, answer) for visit, answer in seen.visited("logging") if answer.get("disabled")]
    if not mute and not disabled:
        loud = next((visit["pod"] for visit, answer in seen.visited("logging") if not answer.get("disabled")), None)
        if loud:
            yield RuledOut(cause, f"Celery's loggers are enabled in pod/{loud}")
        elif seen.started("worker", "beat"):
            yield RuledOut(cause, "the containers that ended said more than their banner")
        else:
            yield Unseen(cause, seen.gap("logging") or "no container of Celery runs, and none has ended")
        return
    yield Finding(
        cause,
        f"Celery's loggers are silenced: {names(mute)} ends without a word"
        if mute
        else "Celery's loggers are silenced",
        Stage.PROCESS,
        Confidence.CERTAIN if disabled else Confidence.POSSIBLE,
        (
            *(
                Evidence(f"the application in pod/{visit['pod']}", f"disabled: {', '.join(answer['disabled'][:3])}")
                for visit, answer in disabled[:1]
            ),
            *(_last_words(pod) for pod in mute[:2]),
        ),
        "in Django's LOGGING set disable_existing_loggers: False, which is True when it is left out; then the real "
        "error "
        "shows. Until then test ROLE of the broker and a write to /dev/shm: these two end a worker so",
        explained(mute),
        consequence=True,
    )


def _last_words(pod: Pod) -> Evidence:
    for source, lines in pod.main.sources():
        said = [line for line in lines if line.strip()]
        if said:
            return Evidence(source, trimmed(f"exit code {pod.main.exit_code}, last line: {said[-1]}"))
    return Evidence(f"container {pod.main.name} of {pod.subject}", f"exit code {pod.main.exit_code}, no output at all")


def _is_silent(one: Container) -> bool:
    """It ended by itself with an error, and nothing but the banner was said, or not even that."""
    if one.exit_code not in (1, 0) or one.exit_reason == "OOMKilled" or one.restarts == 0:
        return False
    lines = one.previous_log or one.log
    if not any(line.strip() for line in lines):
        return one.exit_code == 1
    return any(re.search(_BANNER, line) for line in lines) and not any(
        re.search(_SPEAKS, line) for line in lines if not re.search(_BANNER, line)
    )


RULES: tuple[Rule, ...] = (shared_memory, reconnect_fault, simultaneous_start, silence)
