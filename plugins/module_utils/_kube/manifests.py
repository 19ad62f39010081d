# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module `manifests`: definitions in, one result out, whatever happened on the way."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._progress import Report

from .apply import Applier, Settings
from .applyset import ApplySet, Scope
from .client import Api, NoClusterError, connect
from .definitions import kinds_in, parse_definitions
from .ending import await_end
from .items import Item, diff_sides, result_entry
from .prune import Pruner
from .remove import Remover
from .resources import Json
from .snapshot import Snapshot
from .waiter import wait_for
from .yamlio import dump, load_files

__all__ = ["sync"]

# So many changed objects an error names.
_NAMED = 10


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
    apply_set = _apply_set(params)
    try:
        api = connect(params)
    except NoClusterError:
        # On a fresh machine the play that would make the cluster only says so in check mode.
        if not check:
            raise
        items = _offline(documents, params, apply_set)
        _report(items, result, diff=diff)
        return
    objects = _parse(api, documents, params, apply_set)
    pruner = Pruner(api, apply_set, params["apply_set"]["prune_also"], check=check) if apply_set else None
    task = _Task(api, objects, pruner, params, report, check)
    run: _Run = _Removal(task) if params["state"] == "absent" else _Application(task)
    try:
        run.run()
    except CeleryOpsError as error:
        raise _with_progress(error, run.items) from error
    finally:
        _report(run.items, result, diff=diff)


@dataclass(frozen=True)
class _Task:
    """What is to be done with which objects, and where; `params` are the module's options."""

    api: Api
    objects: list[Json]
    pruner: Pruner | None
    params: Mapping[str, Any]
    report: Report
    check: bool

    @property
    def patience(self) -> float | None:
        """Seconds to wait for, nothing when that was not asked for."""
        return self.params["wait_timeout"] if self.params["wait"] else None


class _Run(Protocol):
    @property
    def items(self) -> list[Item]: ...

    def run(self) -> None: ...


class _Application:
    """state: present."""

    def __init__(self, task: _Task) -> None:
        self._task = task
        self._timeout = None if task.check else task.patience
        settings = Settings(
            manager=task.params["field_manager"],
            force=task.params["force_conflicts"],
            check=task.check,
            config_rollout=task.params["config_rollout"],
        )
        self._applier = Applier(task.api, task.objects, settings, task.pruner)

    @property
    def items(self) -> list[Item]:
        return self._applier.items

    def run(self) -> None:
        task = self._task
        self._applier.run()
        if self._timeout is None:
            return
        end = time.monotonic() + self._timeout
        rolled = {item.key for item in self.items if item.rolled}
        applied = [item.after for item in self._applier.items if item.after]
        changed = {item.key for item in self.items if item.changed}
        wait_for(task.api, applied, self._timeout, rolled, changed=changed, report=task.report)
        if task.pruner:
            await_end(task.api, task.pruner.items, max(0.0, end - time.monotonic()), task.report)


class _Removal:
    """state: absent."""

    def __init__(self, task: _Task) -> None:
        self._task = task
        self._remover = Remover(task.api, task.objects, check=task.check)

    @property
    def items(self) -> list[Item]:
        pruner = self._task.pruner
        return [*self._remover.items, *pruner.kept, pruner.parent] if pruner else self._remover.items

    def run(self) -> None:
        task, pruner = self._task, self._task.pruner
        if pruner:
            pruner.read([Item(one) for one in task.objects], Snapshot(task.api), force=True)
            self._remover = Remover(task.api, [*task.objects, *pruner.leave()], check=task.check)
        self._remover.run(task.patience, task.report)
        if pruner:
            pruner.dissolve()


def _with_progress(error: CeleryOpsError, items: list[Item]) -> CeleryOpsError:
    """The error, with what had been done before it."""
    done = [f"{item.action} {item.key}" for item in items if item.changed]
    if any(item.action in ("failed", "pending") for item in items):
        settled = sum(item.action not in ("failed", "pending") for item in items)
        named = ", ".join(done[:_NAMED]) + (f" and {len(done) - _NAMED} more" if len(done) > _NAMED else "")
        error.message += f" (before that, {settled} of {len(items)} objects were dealt with: {named or 'none changed'})"
    error.details["done"] = done
    return error


def _apply_set(params: Mapping[str, Any]) -> ApplySet | None:
    given = params["apply_set"]
    if given is None:
        return None
    namespace = given["namespace"] or params["namespace"]
    if not namespace:
        raise CeleryOpsError(
            "`apply_set` names no namespace",
            expected="`apply_set.namespace`, or `namespace` for all objects",
            found="neither",
            remedy="name the namespace that the set's parent object lives in",
        )
    return ApplySet(given["name"], namespace, given["kind"], given["tooling"])


def _parse(api: Api | None, documents: list[Any], params: Mapping[str, Any], apply_set: ApplySet | None) -> list[Json]:
    kinds = {pair: api.find_resource(*pair) for pair in kinds_in(documents)} if api else {}
    namespaced = {pair: resource.namespaced for pair, resource in kinds.items() if resource}
    objects = parse_definitions(documents, namespaced, params["namespace"])
    if apply_set is None:
        return objects
    if not objects and params["state"] == "present":
        raise CeleryOpsError(
            f"{apply_set} would be emptied",
            expected="at least one definition: without any, all members of the set would be deleted",
            found="no definition",
            remedy="see why there are no definitions, or remove the whole set with `state: absent`",
        )
    return [apply_set.labelled(obj) for obj in objects]


def _offline(documents: list[Any], params: Mapping[str, Any], apply_set: ApplySet | None) -> list[Item]:
    """Without a cluster nothing is there yet: all of it would be created, none of it has to be removed."""
    objects = _parse(None, documents, params, apply_set)
    if apply_set:
        objects.insert(0, apply_set.parent(Scope.of(objects), None))
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
