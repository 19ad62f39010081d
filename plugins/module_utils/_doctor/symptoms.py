# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is not as it should be, whatever the cause: that is what findings have to explain."""

from __future__ import annotations

from collections.abc import Iterator

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import Symptom
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot

__all__ = ["symptoms_of"]


def symptoms_of(seen: Snapshot) -> tuple[Symptom, ...]:
    """One for each subject, those of workers and beats first."""
    found: dict[str, Symptom] = {}
    for one in (*_missing(seen), *_short(seen), *_pods(seen), *_queues(seen)):
        found.setdefault(one.subject, one)
    return tuple(found.values())


def _missing(seen: Snapshot) -> Iterator[Symptom]:
    there = {one.name for one in seen.workloads}
    for name in (*seen.workers, *seen.beats):
        if name not in there and seen.seen("Deployment"):
            yield Symptom(f"deployment/{name}", "does not exist")


def _short(seen: Snapshot) -> Iterator[Symptom]:
    """Workloads that want no pods, fewer than they ought to, or whose pods could not be made."""
    for one in seen.workloads:
        ought = seen.replicas.get(one.name)
        if ought is not None and one.wanted < ought:
            yield Symptom(one.subject, f"wants {one.wanted} pods instead of {ought}")
        elif one.role != "other" and one.wanted == 0:
            yield Symptom(one.subject, "wants no pods")
        elif one.refusals:
            staying = sum(not pod.leaving for pod in one.pods)
            yield Symptom(one.subject, f"{staying} of {one.wanted} pods could be made")


def _pods(seen: Snapshot) -> Iterator[Symptom]:
    for pod in seen.troubled():
        yield Symptom(pod.subject, pod.state)


def _queues(seen: Snapshot) -> Iterator[Symptom]:
    """Messages that wait where every worker has told that it does not look."""
    for _visit, control in seen.visited("control"):
        consumed = {queue for queues in control["queues"].values() for queue in queues}
        for _other, answer in seen.visited("queues"):
            for queue, length in answer["lengths"].items():
                if consumed and length["ready"] and queue not in consumed:
                    yield Symptom(f"queue/{queue}", f"{length['ready']} messages wait, and nobody consumes them")
