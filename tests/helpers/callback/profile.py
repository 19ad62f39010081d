# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says at the end of a run where its time went: by role, and by task within each."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: profile
type: aggregate
short_description: Say where the time went
description:
  - Seconds of every role and task, from its start to the start of the next, and after a slash the processor time on
    the controller, workers and modules included.
  - The first line counts from the start of the process, so that imports, the inventory and the parsing of roles are
    in it.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "profile"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic() - _age_of_process()
        self._since = (self._began, 0.0)
        # (role, task) to seconds and seconds of processor time, in the order in which they came.
        self._spent: dict[tuple[str, str], tuple[float, float]] = {}
        self._doing = ("start", "imports, inventory, playbooks")

    def _next(self, role: str, task: str) -> None:
        now = (time.monotonic(), _processor_time())
        before = self._spent.get(self._doing, (0.0, 0.0))
        self._spent[self._doing] = (before[0] + now[0] - self._since[0], before[1] + now[1] - self._since[1])
        self._since, self._doing = now, (role, task)

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._next("plays", "between tasks")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        name = task.get_name()
        role = task._role.get_name().rpartition(".")[2] if task._role else "playbook"
        self._next(role, name.rpartition(" : ")[2])

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self.v2_playbook_on_task_start(task, False)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._next("plays", "between tasks")
        for owner in dict.fromkeys(role for role, _task in self._spent):
            tasks = {task: spent for (role, task), spent in self._spent.items() if role == owner}
            self._line("", owner, *map(sum, zip(*tasks.values(), strict=True)))
            for task, spent in tasks.items():
                self._line("    ", task, *spent)
        self._line("", "in all", self._since[0] - self._began, self._since[1])

    def _line(self, indent: str, name: str, seconds: float, processor: float) -> None:
        self._display.display(f"{indent}{seconds:7.2f} / {processor:5.2f}  {name}")


def _processor_time() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def _age_of_process() -> float:
    """Seconds since the interpreter was started; field 22 of stat(5) is its start in ticks since boot."""
    started = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return uptime - float(started) / os.sysconf("SC_CLK_TCK")
