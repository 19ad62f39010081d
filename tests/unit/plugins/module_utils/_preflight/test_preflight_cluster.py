# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is there already, from objects as its API gives them."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.capacity import Node
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.cluster import left_over, storage

MIB = 2**20


def node(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": spec, "status": {"allocatable": {"cpu": "2", "memory": "1024Mi"}}}


def pod(namespace: str, node: str, cpu: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "memory": "100Mi"}}
    return {"metadata": {"namespace": namespace}, "spec": {"nodeName": node, "containers": [{"resources": resources}]}}


def test_what_other_namespaces_leave() -> None:
    pods = [pod("kube-system", "a", "250m"), pod("shop", "a", "400m"), pod("x", "b", "1"), pod("x", "", "1")]
    pods.append({"metadata": {"namespace": "x"}, "spec": {"nodeName": "b", "containers": [{}]}})
    assert left_over([node("a"), node("b")], pods, "shop") == [
        Node("a", 1750, 924 * MIB),
        Node("b", 1000, 924 * MIB),
    ]


def test_nodes_that_take_no_pods() -> None:
    tainted = node("a", taints=[{"key": "x", "effect": "NoSchedule"}])
    preferring = node("c", taints=[{"key": "x", "effect": "PreferNoSchedule"}])
    assert [n.name for n in left_over([tainted, node("b", unschedulable=True), preferring], [], "shop")] == ["c"]


def storage_class(name: str, default: str = "") -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": default}}}


def test_storage_classes() -> None:
    classes = [storage_class("fast"), storage_class("slow", "true")]
    assert storage(classes, "") == []
    assert storage(classes, "fast") == []
    assert storage(classes, "gone")[0].found == "fast, slow"
    assert storage(classes[:1], "")[0].expected == "a StorageClass that is the default"
    assert storage([], "")[0].found == "no StorageClass"
