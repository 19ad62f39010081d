# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which rows change, the one rule of priorities, and what is sent to the pod."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._beat import argspec, plan, priority, shipment
from ansible_collections.celeryops.platform.plugins.module_utils._beat.entries import ScheduleError
from ansible_collections.celeryops.platform.plugins.module_utils._beat.inside import common
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

ROW = {"task": "t", "priority": 0, "args": [1], "enabled": True}
PARAMS = {
    **{name: option.get("default") for name, option in argspec.APP_ARGS.items()},
    "namespace": "shop",
    "image": "shop:1",
    "config_maps": ["app-config"],
    "secrets": ["app-secrets"],
    "env": [{"name": "A", "value": "1"}],
}


def actions(declared: dict[str, Any], present: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.name, one.action, one.fields) for one in plan.plan(declared, present)]


def test_what_is_not_there_is_created_and_what_is_right_stays() -> None:
    found = actions({"a": ROW, "b": ROW}, {"b": {**ROW, "more": 1}, "somebody else's": ROW})
    assert found == [("a", "create", tuple(ROW)), ("b", "unchanged", ())]


def test_pruning_deletes_what_is_not_declared_and_leaves_celerys_own_entry() -> None:
    present = dict.fromkeys(("b", "z", "c", "celery.backend_cleanup"), ROW)
    changes = plan.plan({"b": ROW}, present, prune=True)
    assert [(one.name, one.action) for one in changes] == [("b", "unchanged"), ("c", "delete"), ("z", "delete")]
    assert plan.shown(changes[1])["after"] == ""
    assert plan.shown(changes[1])["before"] == 'task: "t"\npriority: 0\nargs: [1]\nenabled: true\n'
    (named,) = plan.plan({"celery.backend_cleanup": {**ROW, "priority": 1}}, present, prune=False)
    assert named.action == "update"


def test_what_ran_once_is_not_enabled_again() -> None:
    once = {**ROW, "one_off": True}
    spent = {**once, "enabled": False}
    assert actions({"a": once}, {"a": spent}) == [("a", "unchanged", ())]
    assert actions({"a": {**once, "args": [2]}}, {"a": spent}) == [("a", "update", ("args", "enabled"))]
    often = {**ROW, "one_off": False}
    assert actions({"a": often}, {"a": {**often, "enabled": False}}) == [("a", "update", ("enabled",))]


@pytest.mark.parametrize("value", [[1.0], [True], ["1"], [], None])
def test_values_are_compared_as_json(value: Any) -> None:
    assert actions({"a": ROW}, {"a": {**ROW, "args": value}}) == [("a", "update", ("args",))]


def test_a_change_shows_the_fields_that_differ() -> None:
    (change,) = plan.plan({"a": ROW}, {"a": {**ROW, "priority": 9}})
    assert plan.shown(change) == {
        "before_header": "schedule entry a",
        "after_header": "schedule entry a",
        "before": "priority: 9\n",
        "after": "priority: 0\n",
    }


def test_a_new_entry_shows_what_is_set() -> None:
    (change,) = plan.plan({"a": {**ROW, "kwargs": {}, "expires": None}}, {})
    assert plan.shown(change)["before"] == ""
    assert plan.shown(change)["after"] == 'task: "t"\npriority: 0\nargs: [1]\nenabled: true\n'


def test_the_rule_is_that_of_the_reference_application() -> None:
    spec = importlib.util.spec_from_file_location("priorities", ROOT / "apps/jewelry_shop/config/priorities.py")
    assert spec is not None
    assert spec.loader is not None
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    ours = [priority.redis_priority(declared) for declared in range(11)]
    assert ours == [theirs.redis_priority(declared) for declared in range(11)]
    assert ours == [9, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]


def test_the_pod_obeys_the_namespace_and_keeps_links_out() -> None:
    pod = shipment.manifest("beat-schedule", PARAMS, {"X": "y"})
    (container,) = pod["spec"]["containers"]
    assert pod["spec"]["enableServiceLinks"] is False
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["envFrom"] == [
        {"configMapRef": {"name": "app-config"}},
        {"secretRef": {"name": "app-secrets"}},
    ]
    assert container["env"][-2:] == [{"name": "A", "value": "1"}, {"name": "X", "value": "y"}]
    assert container["resources"]["limits"] == {"cpu": "500m", "memory": "384Mi"}


def test_a_request_that_no_environment_holds_is_refused() -> None:
    noise = [str(hash(("x", number))) for number in range(40_000)]
    with pytest.raises(CeleryOpsError, match="Split the schedule"):
        shipment.work("schedule", {"entries": noise})


def answer(value: Any) -> shipment.Outcome:
    return shipment.Outcome(0, f"noise\n{common.MARK}{json.dumps(value)}\n more noise\n")


def test_an_answer_is_found_among_noise() -> None:
    assert shipment.interpret(answer({"result": {"changed": True}})) == {"changed": True}


def test_a_refusal_is_raised_with_its_details() -> None:
    error = {
        "kind": "locked",
        "message": "m",
        "expected": "e",
        "found": "f",
        "remedy": "r",
        "details": {"lines": ["l"]},
    }
    with pytest.raises(shipment.AppError) as caught:
        shipment.interpret(answer({"error": error}))
    assert (caught.value.kind, caught.value.details) == ("locked", {"lines": ["l"]})
    assert str(caught.value) == "m; expected: e; found: f; remedy: r"


def test_problems_of_the_application_are_told_like_those_found_before() -> None:
    error = {"kind": "schedule", "details": {"problems": ["p", "q"]}}
    with pytest.raises(ScheduleError, match="has 2 problems; nothing was written"):
        shipment.interpret(answer({"error": error}))


def test_silence_is_told_with_the_end_of_the_log() -> None:
    with pytest.raises(shipment.AppError, match=r"exit status 137: one / two"):
        shipment.interpret(shipment.Outcome(137, "one\ntwo\n"))


def test_what_is_shipped_needs_nothing_but_itself_and_the_application() -> None:
    shipped = {one.__name__ for modules in shipment.PROGRAMS.values() for one in modules}
    # The probe is on the path of every worker that role celery_worker made.
    allowed = {*sys.stdlib_module_names, "django", "celery", "celeryops_probe", "django_celery_beat", "redis"}
    for modules in shipment.PROGRAMS.values():
        for module in modules:
            tree = ast.parse(Path(str(module.__file__)).read_text(), feature_version=(3, 9))
            for node in ast.walk(tree):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom):
                    package = str(node.module)
                    names = [package, *(f"{package}.{alias.name}" for alias in node.names)]
                    if any(name in shipped for name in names):
                        continue
                assert {name.partition(".")[0] for name in names} <= allowed, (module.__name__, names)
