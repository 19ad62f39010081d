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
from types import ModuleType
from typing import Any, NoReturn

from ansible import constants as C
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase

__all__ = ["run_inline", "run_main"]

Json = dict[str, Any]


class _NotHere(Exception):
    """The module has to be run as one."""


class _Ended(SystemExit):
    """A module's end: exit_json and fail_json end the process of a module, and here only its main()."""

    def __init__(self, result: Json):
        super().__init__()
        self.result = result


class _InlineModule:
    """Stands where a module makes its AnsibleModule, with the parts of that class which this collection uses."""

    def __init__(self, args: Mapping[str, Any], check_mode: bool, diff: bool):
        self._args, self.check_mode, self._diff = args, check_mode, diff
        self.params: Json = {}
        self._warnings: list[str] = []
        self._secret: set[str] = set()

    def __call__(self, argument_spec: Json, supports_check_mode: bool = False, **constraints: Any) -> _InlineModule:
        checked = ArgumentSpecValidator(argument_spec, **constraints).validate(dict(self._args))
        if checked.error_messages or (self.check_mode and not supports_check_mode):
            raise _NotHere
        self.params, self._secret = checked.validated_parameters, checked._no_log_values
        return self

    def warn(self, message: str) -> None:
        self._warnings.append(message)

    def exit_json(self, **result: Any) -> NoReturn:
        warnings = {"warnings": self._warnings} if self._warnings else {}
        whole = {"changed": False, **result, "invocation": {"module_args": self.params}, **warnings}
        raise _Ended(remove_values(json.loads(json.dumps(whole)), self._secret))

    def fail_json(self, msg: str, exception: object = None, **result: Any) -> NoReturn:
        self.exit_json(failed=True, msg=msg, **result)


def run_main(action: ActionBase, task_vars: Mapping[str, Any], module: ModuleType) -> Json | None:
    """The result of the main() of a module of this collection; None where it has to be run as a module."""
    stand_in = _InlineModule({}, bool(action._task.check_mode), bool(action._task.diff))

    def work(args: Json) -> Json:
        stand_in._args = args
        # The name belongs to this process, which ends with the task.
        vars(module)["AnsibleModule"] = stand_in
        try:
            module.main()
        except _Ended as end:
            return end.result
        raise _NotHere

    try:
        return _here(action, task_vars, action._task.args, work)
    except _NotHere:
        return None


def run_inline(
    action: ActionBase,
    task_vars: Mapping[str, Any],
    args: Mapping[str, Any],
    spec: ArgumentSpecValidator,
    work: Callable[[Json], Json],
) -> Json | None:
    """What `work` makes of the validated arguments, as a module's result; None where it has to be run as a module."""

    def validated(plain: Json) -> Json:
        checked = spec.validate(plain)
        if checked.error_messages:
            raise _NotHere
        result: Json = json.loads(json.dumps(work(checked.validated_parameters)))
        return {**result, "invocation": {"module_args": checked.validated_parameters}}

    try:
        return _here(action, task_vars, args, validated)
    except _NotHere:
        return None


def _here(
    action: ActionBase, task_vars: Mapping[str, Any], args: Mapping[str, Any], work: Callable[[Json], Json]
) -> Json:
    """What `work` makes of the plain arguments, in the task's environment.

    Raises _NotHere where a module would run on another machine, as another user, by another interpreter, in the
    background, with an environment for the interpreter itself, or with arguments that it will refuse or that only
    Ansible can hand over.
    """
    environment: Json = {}
    action._compute_environment_string(environment)
    # An interpreter reads these when it starts.
    if not _same_place(action, task_vars) or any(name.startswith(("PYTHON", "LD_")) for name in environment):
        raise _NotHere
    try:
        # What Ansible knows of a value's origin ends here, as it does on the way to a module.
        plain = json.loads(json.dumps(args))
    except TypeError:
        raise _NotHere from None
    with _with_environment(environment):
        return work(plain)


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
