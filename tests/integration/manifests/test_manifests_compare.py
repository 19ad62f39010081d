# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison against the real API server, with generated objects of every kind that roles use.

What was applied is unchanged; and where the comparison says so of anything else, the server must agree.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from helpers.generated import CLUSTER_SCOPED, KINDS, objects
from helpers.manifests import apply, config_map
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.compare import (
    meaningful,
    owned_fields,
    unchanged,
)
from ansible_collections.celeryops.platform.plugins.module_utils._kube.definitions import parse_definitions

MANAGER = "celeryops"
SETTINGS = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])


@pytest.fixture(scope="module")
def space(api: Api) -> Iterator[str]:
    """One namespace for all of them."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    api.delete(ObjectRef("v1", "Namespace", name))


def named(wanted: Json, space: str) -> Json:
    metadata: Json = {"name": f"x-{uuid.uuid4().hex}"}
    if wanted["kind"] not in CLUSTER_SCOPED:
        metadata["namespace"] = space
    [found] = parse_definitions([{**wanted, "metadata": {**wanted["metadata"], **metadata}}], {}, None)
    return found


def remove(api: Api, wanted: Json) -> None:
    api.delete(ObjectRef.of(wanted), grace_seconds=0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_applied_is_unchanged(api: Api, space: str, kind: str) -> None:
    @SETTINGS
    @given(objects(kind))
    def check(definition: Json) -> None:
        wanted = named(definition, space)
        live = api.apply(wanted, field_manager=MANAGER)
        try:
            again = api.apply(wanted, field_manager=MANAGER)
            assert meaningful(again) == meaningful(live)
            assert unchanged(wanted, live, MANAGER), live
        finally:
            remove(api, wanted)

    check()


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for at, inner in enumerate(value) for leaf in leaves(inner, (*path, at))]
    return [path]


IDENTITY = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}


def altered(wanted: Json, path: tuple[Any, ...], data: st.DataObject) -> Json:
    """With one field left out, or with another value of its shape."""
    found = copy.deepcopy(wanted)
    parent: Any = found
    for key in path[:-1]:
        parent = parent[key]
    shape = type(parent[path[-1]])
    if shape in (dict, list) or data.draw(st.booleans(), "left out"):
        del parent[path[-1]]
    else:
        values = ["", "x", "1", "1Gi", "500m"] if shape is str else [True, False] if shape is bool else [0, 1, 2]
        parent[path[-1]] = data.draw(st.sampled_from(values), "value")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"Namespace"}))
def test_where_it_says_unchanged_the_server_agrees(api: Api, space: str, kind: str) -> None:
    @SETTINGS
    @given(objects(kind), st.data())
    def check(definition: Json, data: st.DataObject) -> None:
        wanted = named(definition, space)
        paths = [path for path in leaves(wanted) if path not in IDENTITY]
        if not paths:
            return
        live = api.apply(wanted, field_manager=MANAGER)
        try:
            other = altered(wanted, data.draw(st.sampled_from(paths)), data)
            if not unchanged(other, live, MANAGER):
                # It may be wrong in this direction, at the price of a request that changes nothing.
                return
            after = api.apply(other, field_manager=MANAGER, dry_run=True)
            assert meaningful(after) == meaningful(live)
            assert owned_fields(after, MANAGER) == owned_fields(live, MANAGER)
        finally:
            remove(api, wanted)

    check()


def test_a_limit_range_with_a_maximum_costs_nothing_when_it_is_there(namespace: str, kube_module: Any) -> None:
    limits = [{"type": "Container", "max": {"cpu": 2, "memory": "2048Mi"}, "min": {"cpu": 0.01}}]
    metadata = {"name": "limits", "namespace": namespace}
    wanted = {"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": limits}}
    assert apply(kube_module, config_map(namespace), wanted)["changed"]
    assert not apply(kube_module, config_map(namespace), wanted)["changed"]
