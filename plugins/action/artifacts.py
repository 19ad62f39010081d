# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds artifacts on the controller, telling how far it is while it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import golang
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.argspec import ARTIFACTS_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.engine import Factory
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import parse_catalogue
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError


def _factory(options: dict[str, Any]) -> Factory:
    entries = [{k: v for k, v in e.items() if v is not None} for e in options["catalogue"]]
    wheel = options["go_wheel"]
    return Factory(
        catalogue=parse_catalogue(entries),
        cache=Path(options["cache_dir"]),
        repository=options["repository"],
        wheel=golang.Wheel(wheel["project"], wheel["version"], tuple(wheel["sha256"])),
        python=options["python"],
        jobs=options["jobs"],
        say=Display().display,
    )


class ActionModule(ActionBase):
    """See the module of the same name for the documentation."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        _validated, options = self.validate_argument_spec(argument_spec=ARTIFACTS_ARGS)
        try:
            if options["state"] == "absent":
                return self._absent(options)
            return self._present(options)
        except CeleryOpsError as error:
            # what was finished before the failure is there, and is said
            changed = any(row["action"] == "built" for row in error.details.get("artifacts", ()))
            raise AnsibleActionFail(str(error), result={**error.details, "changed": changed}) from error

    def _present(self, options: dict[str, Any]) -> dict[str, Any]:
        factory = _factory(options)
        names = options["names"]
        rows = factory.rows(factory.plan(names)) if self._task.check_mode else factory.build(names)
        return {"changed": any(row["action"] == "built" for row in rows), "artifacts": rows}

    def _absent(self, options: dict[str, Any]) -> dict[str, Any]:
        rows = _factory(options).remove(options["names"], check_mode=self._task.check_mode)
        return {"changed": any(row["action"] == "removed" for row in rows), "artifacts": rows}
