# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the main() of every module does around its domain function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["outcome", "run_module"]


class Module(Protocol):
    """The part of AnsibleModule that ends a module."""

    def exit_json(self, **kwargs: Any) -> NoReturn: ...

    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn: ...


def outcome(function: Callable[[dict[str, Any]], None], **initial: Any) -> dict[str, Any]:
    """The result that `function` fills in; with `failed`, `msg` and `error` when it raised CeleryOpsError.

    `initial` holds every key of the result with its empty value, so that the result has one shape whatever
    happens. What the function filled in before it failed is returned with the failure.
    """
    result: dict[str, Any] = {"changed": False, **initial}
    try:
        function(result)
    except CeleryOpsError as error:
        facts = {"expected": error.expected, "found": error.found, "remedy": error.remedy, **error.details}
        return {**result, "failed": True, "msg": str(error), "error": facts}
    return result


def run_module(module: Module, function: Callable[[dict[str, Any]], None], **initial: Any) -> NoReturn:
    """Ends the module with the outcome of `function`."""
    result = outcome(function, **initial)
    if result.pop("failed", False):
        module.fail_json(**result)
    module.exit_json(**result)
