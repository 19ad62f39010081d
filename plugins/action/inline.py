# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the modules that meta/runtime.yml names for it in Ansible's own process where they would run beside it."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.celeryops.platform.plugins.plugin_utils.inline import run_main

MODULES = "ansible_collections.celeryops.platform.plugins.modules"


class ActionModule(ActionBase):
    """For any module of this collection that reads nothing but its arguments and the environment."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        module = import_module(f"{MODULES}.{self._task.action.rpartition('.')[2]}")
        done = run_main(self, task_vars or {}, module)
        if done is None:
            done = self._execute_module(task_vars=task_vars, wrap_async=self._task.async_val)
        return {**result, **done}
