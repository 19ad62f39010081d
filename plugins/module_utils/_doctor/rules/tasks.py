# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods that are up and do not do their work: queues without consumers, workers that do not consume, beats."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import take_turns
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
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Pod, Workload

__all__ = ["RULES"]

# Seconds without evidence of consuming; the probes allow as much.
_SILENT = 60.0
_UNSENT = r"Couldn't apply scheduled task|could not be sent|no due time can be claimed"
# What beat says before it sends a task; where that fails, the complaint follows.
_SENDING = r"Sending due task"


def _control(seen: Snapshot) -> tuple[dict[str, Any], dict[str, Any]] | None:
    return next(iter(seen.visited("control")), None)


def _answers(control: dict[str, Any]) -> dict[str, str]:
    """Pod: the name under which its worker answered."""
    return {name.rpartition("@")[2]: name for name in control["pongs"]}


def _silent(seen: Snapshot, control: dict[str, Any]) -> list[tuple[Pod, str]]:
    """Workers that have been up for long enough and do not consume, and what shows it."""
    pods = [pod for pod in seen.pods("worker") if pod.settled and pod.name not in seen.gone]
    answers = _answers(control)
    if answers and not answers.keys() & {pod.name for pod in seen.pods("worker")}:
        # They go by names of their own, so that nobody can be told to be missing.
        return []
    solo = {one.name for one in seen.of("worker") if one.option("-P", "--pool") == "solo"}
    found = []
    for pod in pods:
        name = answers.get(pod.name)
        probe = (control.get("probes") or {}).get(name or "")
        if name is None:
            # A solo worker that runs a task answers afterwards.
            if pod.workload not in solo:
                found.append((pod, f"no answer to a ping within {control['within']:g} s"))
        elif probe and not probe.get("consuming"):
            found.append((pod, f"{name} says of itself that it does not consume"))
        elif probe and (probe.get("consuming_age") or 0.0) > _SILENT:
            found.append((pod, f"{name} last saw its broker answer {probe['consuming_age']:.0f} s ago"))
        elif not control["queues"].get(name):
            found.append((pod, f"{name} consumes from no queue"))
    return found


def not_consuming(seen: Snapshot) -> Iterator[Verdict]:
    cause = "worker-not-consuming"
    seen_control = _control(seen)
    if seen_control is None:
        yield Unseen(cause, seen.gap("control") or "no container runs from which workers could be asked")
        return
    visit, control = seen_control
    found = _silent(seen, control)
    if not found:
        yield RuledOut(cause, f"{len(control['pongs'])} workers answered a ping and consume")
        return
    pods = [pod for pod, _said in found]
    yield Finding(
        cause,
        f"{names(pods)} is up and does not consume",
        Stage.TASKS,
        Confidence.LIKELY,
        tuple(
            Evidence(f"remote control, asked from pod/{visit['pod']}", f"{pod.name}: {said}") for pod, said in found[:3]
        ),
        f"kubectl -n {seen.namespace} delete pod {' '.join(pod.name for pod in pods[:3])}: what it held comes back by "
        f"late "
        "acknowledgement; socket timeouts of 5 s and the probes of role celery_pod end such a worker by themselves",
        explained(pods),
        consequence=True,
    )


def unconsumed(seen: Snapshot) -> Iterator[Verdict]:
    cause = "queue-unconsumed"
    seen_control = _control(seen)
    if seen_control is None:
        yield Unseen(cause, seen.gap("control") or "no container runs from which workers could be asked")
        return
    visit, control = seen_control
    pods = seen.pods("worker")
    deaf = bool(_silent(seen, control)) or any(not pod.ready or pod.name in seen.gone for pod in pods)
    lengths: dict[str, Any] = next((answer["lengths"] for _visit, answer in seen.visited("queues")), {})
    consumed = {queue for queues in control["queues"].values() for queue in queues}
    orphans = [
        queue
        for queue in dict.fromkeys((*seen.queues, *lengths))
        if queue not in consumed and (queue in seen.queues or lengths[queue]["ready"])
    ]
    if not orphans:
        yield RuledOut(cause, f"{len(consumed)} queues have consumers, and no other one holds messages")
        return
    if not consumed:
        yield Unseen(cause, "no worker answered which queues it consumes from")
        return
    if deaf:
        yield Unseen(cause, "not every worker could say which queues it consumes from")
        return
    told = [
        f"{queue}: {lengths[queue]['ready']} waiting, no consumer" if queue in lengths else f"{queue}: no consumer"
        for queue in orphans
    ]
    yield Finding(
        cause,
        f"Nobody consumes from {', '.join(orphans)}",
        Stage.TASKS,
        Confidence.CERTAIN,
        (
            *(Evidence(f"Redis, asked from pod/{visit['pod']}", one) for one in told[:3]),
            Evidence(
                f"active_queues of {len(control['queues'])} workers",
                trimmed(", ".join(sorted(consumed)) or "no queues"),
            ),
        ),
        f"add {', '.join(orphans)} to the queues of a pool in celery_worker_pools and run site.yml with --tags "
        f"worker; at "
        f"once: celery -A APP control add_consumer {orphans[0]}",
        tuple(f"queue/{queue}" for queue in orphans),
    )


def two_beats(seen: Snapshot) -> Iterator[Verdict]:
    cause = "two-beats"
    pods = [
        pod
        for one in seen.of("beat")
        if not take_turns(one.container)
        for pod in one.pods
        if not pod.leaving and pod.ran
    ]
    embedded = [one for one in seen.of("worker") if {"-B", "--beat"} & set(one.words)]
    pods += [pod for one in embedded for pod in one.pods if not pod.leaving and pod.ran]
    live = [pod for pod in pods if pod.main.state == "running"]
    if len(live) < 2:
        yield RuledOut(cause, f"{len(live)} scheduler runs, on its own" if live else "no scheduler runs")
        return
    over = next((one for one in (*seen.of("beat"), *embedded) if one.wanted > 1), None)
    remedy = (
        f"kubectl -n {seen.namespace} scale {over.subject} --replicas=1"
        if over
        else f"keep one of them: kubectl -n {seen.namespace} scale {_owners(seen, live)[-1].subject} --replicas=0"
    )
    yield Finding(
        cause,
        f"{len(live)} schedulers run, and each sends every task",
        Stage.TASKS,
        Confidence.CERTAIN,
        tuple(
            Evidence(pod.subject, f"runs {' '.join(_words(seen, pod)) or 'a beat'} on {pod.node}") for pod in live[:3]
        ),
        remedy
        + ("; take -B off the workers (celery_worker_flags)" if embedded else "")
        + "; strategy Recreate keeps it so",
        tuple(one.subject for one in _owners(seen, live)),
    )


def _owners(seen: Snapshot, pods: list[Pod]) -> list[Workload]:
    owners = {pod.workload for pod in pods}
    return [one for one in seen.celery if one.name in owners]


def _words(seen: Snapshot, pod: Pod) -> tuple[str, ...]:
    return next(one.words for one in seen.celery if one.name == pod.workload)[:8]


def beat_unsent(seen: Snapshot) -> Iterator[Verdict]:
    """Beat ticks, even advances last_run_at, and its tasks never reach the broker."""
    cause = "beat-unsent"
    pods, lines = quotes(seen.pods("beat"), _UNSENT, over=_SENDING)
    if not pods:
        yield RuledOut(cause, "no beat says that it could not send a task")
        return
    yield Finding(
        cause,
        f"{names(pods)} ticks and cannot send what is due",
        Stage.TASKS,
        Confidence.LIKELY,
        lines,
        "put the broker URL right: it is refused there what a worker's pod may be granted (site.yml with --tags "
        "celery)",
        explained(pods),
        consequence=True,
    )


RULES: tuple[Rule, ...] = (not_consuming, unconsumed, two_beats, beat_unsent)
