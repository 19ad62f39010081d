# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints a report as lines, where a result would come out as one structure."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.celeryops.platform.plugins.module_utils._celery.summary import render

ARGS = {
    "title": {"type": "str", "required": True},
    "checks": {"type": "list", "elements": "dict", "required": True},
    "pods": {"type": "list", "elements": "dict", "default": []},
    "commands": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "what": {"type": "str", "required": True},
            "command": {"type": "str", "required": True},
        },
    },
}


class ActionModule(ActionBase):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=ARGS)
        width = min(shutil.get_terminal_size((110, 24)).columns, 140)
        tones = {"good": C.COLOR_OK, "bad": C.COLOR_ERROR, "open": C.COLOR_SKIP, "plain": None}
        lines = render(options["title"], options["checks"], options["pods"], options["commands"], width)
        display = Display()
        display.display("")
        for line in lines:
            display.display(line.text, color=tones[line.tone])
        display.display("")
        return {
            "changed": False,
            "lines": [line.text for line in lines],
            # As of set_stats: AWX shows it with the job, and hands it on to the jobs that follow in a workflow.
            "ansible_stats": {"data": {"platform_report": _report(options)}, "per_host": False, "aggregate": False},
        }


def _report(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[Any, dict[str, str]] = {True: {}, False: {}, None: {}}
    for one in options["checks"]:
        found[one["passed"]][one["name"]] = one["evidence"]
    return {
        "title": options["title"],
        "passed": len(found[True]),
        "failed": found[False],
        # What was not looked at, as nobody asked for it, speaks neither for nor against.
        "open": found[None],
        "proved": bool(found[True]) and not found[False],
    }
