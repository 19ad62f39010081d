# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that the kubelet ends because a probe failed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

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
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Event, Pod

__all__ = ["RULES"]

_KILL = r"failed (startup|liveness) probe"
_FAILED = r"^(Startup|Liveness|Readiness) probe (failed|errored)"
_NO_COMMAND = r"executable file not found|no such file or directory|not found"
# What a runtime says of a container that has just ended
_GONE = r"container not created|no running task|failed to load task|container not found"
_TIMED_OUT = r"timed out|deadline exceeded|timeout"
# The probes of role celery_pod: what they say is the worker's own word.
_OWN_WORD = r"silent for \d+ s|no sign yet"
# A worker with Django needs up to a minute on a busy node.
_WINDOW = 60
_VARIABLES = {
    "worker": "celery_worker_{}_probe",
    "beat": "celery_beat_{}_probe",
}


def _killed(seen: Snapshot, pod: Pod) -> tuple[str, Event] | None:
    """(kind of probe, event) where the kubelet ended a container for a probe."""
    for event in seen.events_of("Pod", pod.name, "Killing", "Unhealthy"):
        match = re.search(_KILL, event.message)
        if match:
            return match[1], event
    return None


def _window(probe: Mapping[str, Any]) -> int:
    """Seconds until a probe that always fails ends its container."""
    return int(probe.get("initialDelaySeconds") or 0) + int(probe.get("periodSeconds") or 10) * int(
        probe.get("failureThreshold") or 3
    )


def too_tight(seen: Snapshot) -> Iterator[Verdict]:
    cause = "probes-tight"
    if not seen.seen("Event"):
        yield Unseen(cause, seen.gap("Event") or "the events were not read")
        return
    found = [(pod, *killed) for pod in seen.troubled() if (killed := _killed(seen, pod))]
    if not found:
        yield RuledOut(cause, "no event tells of a container that was ended for a probe")
        return
    pod, kind, event = found[0]
    probe = pod.main.spec.get(f"{kind}Probe") or {}
    failures = [one for one in seen.events_of("Pod", pod.name, "Unhealthy") if re.search(_FAILED, one.message)]
    said = failures[0].message if failures else ""
    window, timeout = _window(probe), int(probe.get("timeoutSeconds") or 1)
    timed_out = bool(re.search(_TIMED_OUT, said))
    pods = [one for one, _kind, _event in found]
    short = window < _WINDOW if kind == "startup" or not pod.main.spec.get("startupProbe") else False
    variable = _VARIABLES.get(pod.role, "the {} probe").format(kind)
    yield Finding(
        cause,
        f"The {kind} probe ends {names(pods)} after {window} s"
        + (
            f": its command takes longer than {timeout} s"
            if timed_out
            else " before the process is up"
            if short
            else ""
        ),
        Stage.PROBES,
        Confidence.LIKELY if short or timed_out else Confidence.POSSIBLE,
        (
            Evidence(event.source, trimmed(event.message)),
            *(Evidence(one.source, trimmed(one.message)) for one in failures[:1]),
            Evidence(
                f"{kind} probe of container {pod.main.name} of {pod.subject}",
                f"initialDelaySeconds {probe.get('initialDelaySeconds', 0)}, periodSeconds "
                f"{probe.get('periodSeconds', 10)}, "
                f"failureThreshold {probe.get('failureThreshold', 3)}, timeoutSeconds {timeout}",
            ),
        ),
        f"raise {variable}: "
        + (
            f"timeoutSeconds above {timeout}, or a cheaper command than inspect ping (celery_pod_probe_command)"
            if timed_out
            else "the reference has periodSeconds 10 and failureThreshold 36 to start, 30 and 3 to live"
        ),
        explained(pods),
        # A worker that cannot start for another reason fails its probes too, and says itself that it is silent.
        consequence=not timed_out or bool(re.search(_OWN_WORD, said)),
    )


def command(seen: Snapshot) -> Iterator[Verdict]:
    """A probe whose program is not in the image, such as pgrep in a slim one."""
    cause = "probe-command"
    if not seen.seen("Event"):
        yield Unseen(cause, seen.gap("Event") or "the events were not read")
        return
    found = [
        (pod, event)
        for pod in seen.pods()
        if not pod.ready
        for event in seen.events_of("Pod", pod.name, "Unhealthy")[:3]
        if re.search(_FAILED, event.message)
        and re.search(_NO_COMMAND, event.message)
        and not re.search(_GONE, event.message)
    ]
    if not found:
        yield RuledOut(cause, "no probe failed for want of its command")
        return
    pods = list({pod.name: pod for pod, _event in found}.values())
    yield Finding(
        cause,
        f"The command of a probe of {names(pods)} is not in the image",
        Stage.PROBES,
        Confidence.CERTAIN,
        tuple(dict.fromkeys(Evidence(event.source, trimmed(event.message)) for _pod, event in found))[:3],
        "use the probes of role celery_pod (celery_pod_probe_command), which need a POSIX shell only; ps and pgrep are "
        "missing in slim images",
        explained(pods),
    )


RULES: tuple[Rule, ...] = (too_tight, command)
