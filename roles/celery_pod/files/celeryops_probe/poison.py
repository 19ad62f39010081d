# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which task killed its process?

Where a prefork child died, Celery knows which task it ran. Where a whole worker died or fell silent,
Redis knows which tasks were running in it, and no more: one of them may have killed it, or none. So

- a task that ran alone counts as the killer,
- of several each is a suspect. One that was suspected twice does not run beside another such task in
  the same process again (see delivery.py), so that the next death tells them apart: it counts for a
  task that was the only one of them.

What was merely held, and what a worker that had been told to stop still ran, is never suspected.
"""

from __future__ import annotations

import time

__all__ = ("death", "is_suspect", "judge", "kills")

# Deaths at which a task was present before it is kept apart from others like it
SUSPICIONS = 2


def death(worker, how, killed, beside=0):
    """One line of a message's history. ``killed``: does it count as this task's doing?"""
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"when": when, "worker": worker, "how": how, "killed": killed, "beside": beside}


def kills(history):
    """How many deaths count as this task's doing."""
    return sum(1 for each in history if each["killed"])


def is_suspect(history):
    return len(history) >= SUSPICIONS


def judge(running):
    """{tag: killed} for the tasks that ran in a worker that died; ``running`` is {tag: history so far}."""
    suspects = list(running) if len(running) == 1 else [tag for tag, past in running.items() if is_suspect(past)]
    return {tag: suspects == [tag] for tag in running}
