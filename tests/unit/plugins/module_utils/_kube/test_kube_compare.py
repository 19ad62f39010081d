# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Comparing what is wanted with live objects, which a real API server returned (data/live.json)."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from helpers.manifests import every_kind
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._kube.compare import changes, meaningful, unchanged
from ansible_collections.celeryops.platform.plugins.module_utils._kube.definitions import parse_definitions
from ansible_collections.celeryops.platform.plugins.module_utils._kube.quantity import parse_quantity

LIVE = {obj["kind"]: obj for obj in json.loads((Path(__file__).parent / "data/live.json").read_text(encoding="utf-8"))}
WANTED = {obj["kind"]: obj for obj in parse_definitions(every_kind("shop"), {}, None)}


@pytest.mark.parametrize("kind", LIVE)
def test_what_was_applied_is_unchanged(kind: str) -> None:
    assert unchanged(WANTED[kind], LIVE[kind], "celeryops")


@pytest.mark.parametrize("kind", set(LIVE) - {"ServiceAccount"})
def test_what_somebody_else_applied_is_not_known_to_be(kind: str) -> None:
    assert not unchanged(WANTED[kind], LIVE[kind], "another-manager")


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all scalars that an apply sets."""
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for at, inner in enumerate(value) for leaf in leaves(inner, (*path, at))]
    return [path]


IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
# The server fills these in inside of values that have one owner as a whole, so leaving them out means the same.
DEFAULTED = {("RoleBinding", ("roleRef", "apiGroup"))}
LEAVES = [(kind, path) for kind in LIVE for path in leaves(WANTED[kind]) if path not in IDENTITY]


def at(obj: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        obj = obj[key]
    return obj


@given(st.sampled_from(LEAVES))
def test_another_value_anywhere_is_a_change(leaf: tuple[str, tuple[Any, ...]]) -> None:
    kind, path = leaf
    wanted = copy.deepcopy(WANTED[kind])
    parent, old = at(wanted, path[:-1]), at(wanted, path)
    parent[path[-1]] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, (int, float)) else f"{old}9"
    assert not unchanged(wanted, LIVE[kind], "celeryops")


@given(st.sampled_from([leaf for leaf in LEAVES if leaf not in DEFAULTED]))
def test_a_field_that_is_left_out_is_a_change(leaf: tuple[str, tuple[Any, ...]]) -> None:
    kind, path = leaf
    wanted = copy.deepcopy(WANTED[kind])
    del at(wanted, path[:-1])[path[-1]]
    assert not unchanged(wanted, LIVE[kind], "celeryops")


@given(st.sampled_from(LEAVES))
def test_a_field_that_others_changed_is_a_change(leaf: tuple[str, tuple[Any, ...]]) -> None:
    kind, path = leaf
    live = copy.deepcopy(LIVE[kind])
    keep = at(live, path[:-1])
    # Lists are kept in the order of the server, which is that of the definition here.
    keep[path[-1]] = {"changed": "by others"}
    assert not unchanged(WANTED[kind], live, "celeryops")


def test_a_new_field_and_a_new_item_are_changes() -> None:
    wanted = copy.deepcopy(WANTED["Deployment"])
    wanted["spec"]["minReadySeconds"] = 5
    assert not unchanged(wanted, LIVE["Deployment"], "celeryops")
    wanted = copy.deepcopy(WANTED["Deployment"])
    wanted["spec"]["template"]["spec"]["containers"][0]["env"].append({"name": "NEW", "value": "1"})
    assert not unchanged(wanted, LIVE["Deployment"], "celeryops")


def applied(value: Any, key: str, fields: Any) -> dict[str, Any]:
    """A live object whose field `key` is `value`, applied by us."""
    entry = {"manager": "celeryops", "operation": "Apply", "apiVersion": "v1", "fieldsV1": {f"f:{key}": fields}}
    rest = {} if value is None else {key: value}
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "managedFields": [entry]}, **rest}


@pytest.mark.parametrize(
    ("wanted", "live", "key", "fields", "same"),
    [
        # Zero values are not kept; what is owned and missing was one.
        (False, None, "paused", {}, True),
        ("", None, "text", {}, True),
        ({}, None, "annotations", {}, True),
        (True, None, "paused", {}, False),
        # The server fills these, but an empty selector is a value.
        ({}, {"type": "RollingUpdate"}, "strategy", {}, True),
        ({}, {"matchLabels": {"a": "b"}}, "selector", {}, False),
        # Owned is that it exists, not what others have put in.
        ({}, {"theirs": "x"}, "labels", {".": {}}, True),
        ({"theirs": "x"}, {"theirs": "x"}, "labels", {".": {}}, False),
        # Items that are owned as a whole.
        ([{"name": "a"}], [{"name": "a"}], "imagePullSecrets", {'k:{"name":"a"}': {}}, True),
        ([{"name": "a", "x": 1}], [{"name": "a"}], "imagePullSecrets", {'k:{"name":"a"}': {}}, False),
        (
            [{"type": "Container", "max": {"cpu": 1}, "min": {"memory": "1Mi"}}],
            [
                {
                    "type": "Container",
                    "max": {"cpu": "1"},
                    "min": {"memory": "1Mi"},
                    "default": {"cpu": "1"},
                    "defaultRequest": {"cpu": "1", "memory": "1Mi"},
                }
            ],
            "limits",
            {},
            True,
        ),
        (
            [{"type": "Pod", "max": {"cpu": 1}}],
            [{"type": "Pod", "max": {"cpu": 1}, "default": {"cpu": 1}}],
            "limits",
            {},
            False,
        ),
    ],
)
def test_what_the_server_drops_and_fills(wanted: Any, live: Any, key: str, fields: Any, same: bool) -> None:
    definition = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x"}, key: wanted}
    assert unchanged(definition, applied(live, key, fields), "celeryops") is same


def test_another_order_of_items_is_a_change() -> None:
    wanted = copy.deepcopy(WANTED["Deployment"])
    wanted["spec"]["template"]["spec"]["containers"][0]["env"].reverse()
    assert not unchanged(wanted, LIVE["Deployment"], "celeryops")


def test_what_others_added_is_no_change() -> None:
    live = copy.deepcopy(LIVE["Deployment"])
    live["metadata"]["annotations"] = {"theirs": "x"}
    live["spec"]["template"]["spec"]["containers"][0]["env"].insert(0, {"name": "THEIRS", "value": "1"})
    live["status"] = {"replicas": 3}
    assert unchanged(WANTED["Deployment"], live, "celeryops")


def test_changes_name_paths_and_values() -> None:
    before = {"a": 1, "items": [{"name": "x", "v": 1}, {"name": "y"}], "gone": "z", "plain": [1]}
    after = {"a": 2, "items": [{"name": "x", "v": 2}, {"name": "new"}], "plain": [1, 2], "b.c/d": 1}
    assert list(changes(before, after)) == [
        {"path": "a", "before": 1, "after": 2},
        {"path": "items[name=x].v", "before": 1, "after": 2},
        {"path": "items[name=y]", "before": {"name": "y"}, "after": None},
        {"path": "items[name=new]", "before": None, "after": {"name": "new"}},
        {"path": "gone", "before": "z", "after": None},
        {"path": "plain", "before": [1], "after": [1, 2]},
        {"path": "['b.c/d']", "before": None, "after": 1},
    ]


def test_status_and_the_servers_metadata_mean_nothing() -> None:
    clean = meaningful(LIVE["Deployment"])
    assert "status" not in clean
    assert set(clean["metadata"]) == {"name", "namespace", "labels"}
    assert meaningful(None) == {}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.5", "0.5"),
        ("500m", "0.5"),
        (1, "1"),
        (0.5, "0.5"),
        ("1Gi", "1073741824"),
        ("1024Mi", "1073741824"),
        ("1k", "1000"),
        ("1e3", "1000"),
        ("1E", "1000000000000000000"),
        ("-100n", "-1E-7"),
    ],
)
def test_quantities(text: object, number: str) -> None:
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1x", "1.2.3", ".", None, True, "1 Gi", "Gi", [1]])
def test_no_quantities(text: object) -> None:
    assert parse_quantity(text) is None
