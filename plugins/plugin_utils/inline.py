# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a module's work in Ansible's own worker process, where the module would run beside it anyway.

A worker is a process of its own for each task. To start a second interpreter in it, and to unpack and compile Ansible's
module library there, takes longer than most of what the modules of this collection have to do.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible import constants as C
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

__all__ = ["run_inline"]


def run_inline(
    action: ActionBase,
    task_vars: Mapping[str, Any],
    args: Mapping[str, Any],
    spec: ArgumentSpecValidator,
    work: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any] | None:
    """What `work` makes of the validated arguments, as a module's result.

    None where the module has to be run as one: on another machine, as another user, by another interpreter, in the
    background, with an environment for the interpreter itself, or with arguments that it will refuse or that only
    Ansible can hand over.
    """
    environment: dict[str, Any] = {}
    action._compute_environment_string(environment)
    # An interpreter reads these when it starts.
    if not _same_place(action, task_vars) or any(name.startswith(("PYTHON", "LD_")) for name in environment):
        return None
    try:
        # What Ansible knows of a value's origin ends here, as it does on the way to a module.
        plain = json.loads(json.dumps(args))
    except TypeError:
        return None
    checked = spec.validate(plain)
    if checked.error_messages:
        return None
    params = checked.validated_parameters
    with _with_environment(environment):
        result: dict[str, Any] = json.loads(json.dumps(work(params)))
    return {**result, "invocation": {"module_args": plain}}


def _same_place(action: ActionBase, task_vars: Mapping[str, Any]) -> bool:
    task, connection = action._task, action._connection
    if connection.transport != "local" or connection.become or task.async_val:
        return False
    of_host = task_vars["ansible_delegated_vars"][task.delegate_to] if task.delegate_to else task_vars
    chosen = of_host.get("ansible_python_interpreter")
    if chosen is None:
        chosen = C.config.get_config_value("INTERPRETER_PYTHON", variables=of_host)
    return bool(action._templar.template(chosen) == sys.executable)


@contextmanager
def _with_environment(added: Mapping[str, Any]) -> Iterator[None]:
    """The task's `environment`, for as long as its work takes: a loop goes on in this process."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in added.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
