# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that the kernel kills for their memory, and tasks that kill their process again and again."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import RECENTLY, Pod

__all__ = ["RULES"]

_LOST = r"WorkerLostError|exited with ['\"]?signal|signal \d+ \(SIG"
_KILLED = r"signal 9 \(SIGKILL\)|signal 9\b"
_RECEIVED = re.compile(r"Task (\S+)\[([0-9a-f-]{36})\] received")
_RETRY = re.compile(r"\[([0-9a-f-]{36})\] retry:")
# A task that was only delivered twice may have met a worker that was stopped.
_AGAIN = 3
_MORE = (
    "raise the memory limit in celery_worker_resources or lower celery_worker_concurrency "
    "(a prefork process takes 40 MiB and more); worker_max_memory_per_child in celery_worker_settings replaces grown "
    "ones"
)


def main_process(seen: Snapshot) -> Iterator[Verdict]:
    cause = "memory-main"
    found = [
        (pod, one)
        for pod in seen.pods()
        for one in pod.containers
        if one.exit_reason == "OOMKilled" and (pod.troubled or (one.ended is not None and one.ended < RECENTLY))
    ]
    if not found:
        yield RuledOut(cause, "no container ended with the reason OOMKilled")
        return
    pods = list({pod.name: pod for pod, _one in found}.values())
    limit = ((found[0][1].spec.get("resources") or {}).get("limits") or {}).get("memory", "none")
    yield Finding(
        cause,
        f"{names(pods)} was killed for its memory (limit {limit})",
        Stage.PROCESS,
        Confidence.CERTAIN,
        tuple(
            Evidence(
                f"container {one.name} of {pod.subject}",
                f"ended {one.restarts} times, last OOMKilled, exit code {one.exit_code}"
                + (f" after {one.ran_for:.0f} s" if one.ran_for is not None else ""),
            )
            for pod, one in found[:3]
        ),
        _MORE if pods[0].role == "worker" else f"raise the memory limit of {pods[0].workload}",
        explained(pods),
    )


def child_process(seen: Snapshot) -> Iterator[Verdict]:
    """The main process lives and answers; a task is lost, or comes again."""
    cause = "memory-child"
    looping = {pod.name for _task, found in _loops(seen) for pod in found}
    pods, lines = quotes((pod for pod in seen.pods("worker") if pod.name not in looping), f"({_LOST}).*")
    pods_killed, lines = quotes(pods, _KILLED)
    counted = [
        (visit, answer)
        for visit, answer in seen.visited("memory")
        if answer.get("oom_kills") and visit["pod"] not in looping
    ]
    if not pods_killed:
        # The counter stays as long as the container does: alone it tells of some day.
        yield RuledOut(cause, "no log of the last quarter of an hour tells of a process lost to signal 9")
        return
    yield Finding(
        cause,
        f"The kernel killed processes of {names(pods_killed)} while the worker went on",
        Stage.PROCESS,
        Confidence.CERTAIN
        if any(visit["pod"] == pod.name for pod in pods_killed for visit, _count in counted)
        else Confidence.LIKELY,
        (
            *lines,
            *(
                Evidence(
                    f"cgroup of pod/{visit['pod']}", f"oom_kill {answer['oom_kills']}, limit {answer.get('limit')}"
                )
                for visit, answer in counted[:1]
            ),
        ),
        f"{_MORE}; task_acks_late with task_reject_on_worker_lost brings the task back",
        explained(pods_killed),
    )


def _loops(seen: Snapshot) -> list[tuple[str, list[Pod]]]:
    """(task, pods) of each message that was received again and again without having asked for it."""
    received: dict[str, list[tuple[str, Pod]]] = defaultdict(list)
    retried: set[str] = set()
    for pod in seen.pods("worker"):
        for one in pod.containers:
            for line in one.lines:
                match = _RECEIVED.search(line)
                if match:
                    received[match[2]].append((match[1], pod))
                retried.update(_RETRY.findall(line))
    return [
        (f"{times[0][0]}[{identity}] {len(times)} times", list(dict.fromkeys(pod for _name, pod in times)))
        for identity, times in received.items()
        if len(times) >= _AGAIN and identity not in retried
    ]


def loop(seen: Snapshot) -> Iterator[Verdict]:
    """Late acknowledgement and rejection on loss bring a task back that kills its process: for ever."""
    loops = _loops(seen)
    for cause, title, wanted in (
        ("memory-loop", "A task takes more memory than there is, and comes back each time its process is killed", True),
        ("poison-task", "A task ends its process each time it runs, and comes back each time", False),
    ):
        found = []
        for task, pods in loops:
            _pods, lines = quotes(pods, _LOST)
            killed = bool(quotes(pods, _KILLED)[0]) or any(
                one.exit_reason == "OOMKilled" for p in pods for one in p.containers
            )
            if (lines or killed) and killed == wanted:
                found.append((task, pods, lines))
        if not found:
            yield RuledOut(cause, f"no task was received {_AGAIN} times with its process lost in between")
            continue
        task, pods, lines = found[0]
        name = task.partition("[")[0]
        yield Finding(
            cause,
            f"{title}: {name}",
            Stage.TASKS,
            Confidence.CERTAIN,
            (Evidence(f"logs of {names(pods)}", trimmed(f"received {task}")), *lines[:2]),
            f"a redelivery cap (CELERY_REDELIVERY_CAP in the reference application); at once: celery -A APP control "
            f"revoke "
            f"{task.partition('[')[2].partition(']')[0]}" + (f"; then {_MORE}" if wanted else ""),
            tuple(dict.fromkeys(pod.subject for _task, each, _lines in found for pod in each)),
        )


RULES: tuple[Rule, ...] = (main_process, child_process, loop)
