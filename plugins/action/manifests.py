# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads files and renders templates on the controller, then does the module's work, or runs it where that has to
be done elsewhere, and shows its progress live."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.validation import check_type_list
from ansible.plugins.action import ActionBase

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.manifests import sync
from ansible_collections.celeryops.platform.plugins.module_utils._module import outcome
from ansible_collections.celeryops.platform.plugins.modules.manifests import ARGS, REQUIRED_ONE_OF
from ansible_collections.celeryops.platform.plugins.plugin_utils.documents import read, render
from ansible_collections.celeryops.platform.plugins.plugin_utils.inline import run_inline
from ansible_collections.celeryops.platform.plugins.plugin_utils.progress import execute, shown

SPEC = ArgumentSpecValidator(ARGS, required_one_of=REQUIRED_ONE_OF)


class ActionModule(ActionBase):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        try:
            args = self._arguments(task_vars or {})
        except CeleryOpsError as error:
            facts = {"expected": error.expected, "found": error.found, "remedy": error.remedy}
            empty = {"changed": False, "objects": [], "progress": []}
            return {**result, **empty, "failed": True, "msg": str(error), "error": facts}
        done = run_inline(self, task_vars or {}, args, SPEC, lambda params: self._work(params, task_vars or {}))
        return {**result, **(done or execute(self, task_vars or {}, module_args=args))}

    def _work(self, params: dict[str, Any], task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """What the module does, in this process."""
        lines: list[str] = []
        report, check, diff = shown(self, task_vars, lines), self._task.check_mode, self._task.diff
        return outcome(lambda result: sync(params, result, report, check=check, diff=diff), objects=[], progress=lines)

    def _arguments(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """The module's arguments: what is read here is among its definitions."""
        args = dict(self._task.args)
        if not {"src", "template"} & args.keys():
            return args
        found = check_type_list(args.get("definitions") or [])
        if args.get("src") and self._connection.transport == "local":
            found = [*found, *read(self, check_type_list(args.pop("src")))]
        if args.get("template"):
            found = [*found, *render(self, check_type_list(args.pop("template")), task_vars)]
        return {**args, "definitions": found}
