# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a set writes down of itself, and which parents it takes for its own."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._kube.applyset import ApplySet, Scope
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

SET = ApplySet("app", "shop", "ConfigMap", "celeryops/v1")
SCOPE = Scope(frozenset({("", "ConfigMap"), ("apps", "Deployment")}), frozenset({"shop", "other"}))


def test_the_identity_is_the_one_of_the_specification() -> None:
    # The value of kubectl's own test, for Secret my-set in namespace test.
    assert (
        ApplySet("my-set", "test", "Secret", "kubectl/v1").id
        == "applyset-0eFHV8ySqp7XoShsGvyWFQD3s96yqwHmzc4e0HR1dsY-v1"
    )


def test_a_parent_tells_what_it_was_made_with() -> None:
    parent = SET.parent(SCOPE, None)
    assert parent["metadata"]["annotations"] == {
        "applyset.kubernetes.io/tooling": "celeryops/v1",
        "applyset.kubernetes.io/contains-group-kinds": "ConfigMap,Deployment.apps",
        "applyset.kubernetes.io/additional-namespaces": "other",
    }
    assert SET.scope(parent) == SCOPE
    assert SET.scope(None) == Scope()


def test_the_version_of_the_same_tool_stays_on_record() -> None:
    parent = ApplySet("app", "shop", "ConfigMap", "celeryops/v9").parent(SCOPE, SET.parent(SCOPE, None))
    assert parent["metadata"]["annotations"]["applyset.kubernetes.io/tooling"] == "celeryops/v1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"annotations": {}}, "no annotation applyset.kubernetes.io/tooling"),
        ({"annotations": {"applyset.kubernetes.io/tooling": "a/b/v1"}}, "managed by a/b"),
        ({"labels": {}}, "the label applyset.kubernetes.io/id: None"),
        ({"annotations": {"applyset.kubernetes.io/tooling": "celeryops"}}, "contains-group-kinds"),
    ],
)
def test_other_parents_are_refused(change: dict[str, Any], said: str) -> None:
    parent = SET.parent(SCOPE, None)
    parent["metadata"] |= change
    with pytest.raises(KubeError, match=said):
        SET.scope(parent)


def test_members_carry_the_identity() -> None:
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "labels": {"a": "b"}}}
    member = SET.labelled(obj)
    assert member["metadata"]["labels"] == {"a": "b", "applyset.kubernetes.io/part-of": SET.id}
    assert SET.is_member(member) and not SET.is_member(obj)
    assert obj["metadata"]["labels"] == {"a": "b"}, "the definition stays as it is"
    with pytest.raises(KubeError, match="carries the label"):
        SET.labelled(member)
    SET.refuse_foreign(member)
    with pytest.raises(KubeError, match="belongs to another apply set"):
        ApplySet("other", "shop", "ConfigMap", "celeryops/v1").refuse_foreign(member)
