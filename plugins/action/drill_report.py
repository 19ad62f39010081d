# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the report of drills on the controller, whatever host they were made for."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase

from ansible_collections.celeryops.platform.plugins.module_utils._drill.write import write
from ansible_collections.celeryops.platform.plugins.module_utils._module import outcome

ARGS = {
    "path": {"type": "path", "required": True},
    "title": {"type": "str", "required": True},
    "drills": {"type": "list", "elements": "dict", "required": True},
}


class ActionModule(ActionBase):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=ARGS)
        # What Ansible knows of a value's origin ends here.
        params = json.loads(json.dumps(options))
        return outcome(
            lambda result: write(params, result, check_mode=bool(self._task.check_mode)),
            path=params["path"],
            json_path="",
            passed=None,
        )
