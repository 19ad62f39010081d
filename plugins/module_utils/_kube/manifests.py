# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `manifests`: definitions in, one result out, whatever happened on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .apply import Applier, Settings
from .client import Api, NoClusterError, connect
from .definitions import kinds_in, parse_definitions
from .items import Item, diff_sides, result_entry
from .remove import Remover
from .resources import Json
from .waiter import wait_for
from .yamlio import dump, load_files

__all__ = ["sync"]


def sync(params: Mapping[str, Any], result: dict[str, Any], report: Report, *, check: bool, diff: bool) -> None:
    """Does what the module's options say and fills in `result`: changed, objects and, when asked for, diff.

    `report` is called with a line for each change of state of what is waited for.
    """
    if params["template"]:
        raise CeleryOpsError(
            "templates have not been rendered",
            expected="the action plugin of this module, which renders them on the controller",
            found="a way of running modules that goes without action plugins",
            remedy="run the module from a task, or hand it `definitions`",
        )
    documents = [*(params["definitions"] or []), *load_files(params["src"] or [])]
    try:
        api = connect(params)
    except NoClusterError:
        # On a fresh machine the play that would make the cluster only says so in check mode.
        if not check:
            raise
        items = _offline(documents, params)
        _report(items, result, diff=diff)
        return
    objects = _parse(api, documents, params)
    if params["state"] == "absent":
        remover = Remover(api, objects, check=check)
        try:
            remover.run(params["wait_timeout"] if params["wait"] else None)
        finally:
            _report(remover.items, result, diff=diff)
        return
    settings = Settings(
        manager=params["field_manager"],
        force=params["force_conflicts"],
        check=check,
        config_rollout=params["config_rollout"],
    )
    applier = Applier(api, objects, settings)
    try:
        applier.run()
        if params["wait"] and not check:
            rolled = {item.key for item in applier.items if item.rolled}
            applied = [item.after for item in applier.items if item.after]
            wait_for(api, applied, params["wait_timeout"], rolled, report=report)
    finally:
        _report(applier.items, result, diff=diff)


def _parse(api: Api, documents: list[Any], params: Mapping[str, Any]) -> list[Json]:
    kinds = {pair: api.find_resource(*pair) for pair in kinds_in(documents)}
    namespaced = {pair: resource.namespaced for pair, resource in kinds.items() if resource}
    return parse_definitions(documents, namespaced, params["namespace"])


def _offline(documents: list[Any], params: Mapping[str, Any]) -> list[Item]:
    """Without a cluster nothing is there yet: all of it would be created, none of it has to be removed."""
    objects = parse_definitions(documents, {}, params["namespace"])
    action = "absent" if params["state"] == "absent" else "created"
    after = params["state"] != "absent"
    return [Item(wanted, after=wanted if after else None, action=action, planned_on="client") for wanted in objects]


def _report(items: list[Item], result: dict[str, Any], *, diff: bool) -> None:
    result["changed"] = any(item.changed for item in items)
    result["objects"] = [result_entry(item) for item in items]
    if diff:
        result["diff"] = [_diff(item) for item in items if item.changed]


def _diff(item: Item) -> dict[str, str]:
    before, after = diff_sides(item)
    if item.action == "deleted":
        after = {}
    names = ", ".join(sorted({claim.manager for claim in item.drift}))
    note = f" ({item.action}{f', over a write by {names}' if names else ''})"
    return {
        "before_header": str(item.key),
        "after_header": str(item.key) + note,
        "before": dump(before),
        "after": dump(after),
    }
