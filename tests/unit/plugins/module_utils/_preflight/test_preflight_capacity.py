# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether pods fit on nodes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.capacity import (
    Node,
    Pods,
    cpu,
    memory,
    pods_from,
    room,
)

MIB = 2**20
THREE = [Node(name, 2000, 8192 * MIB) for name in ("cp-1", "worker-1", "worker-2")]
# The platform as its defaults make it.
PLATFORM = [
    Pods("control plane", 1, 0, 650, 100 * MIB),
    Pods("coredns", 2, 0, 100, 70 * MIB),
    Pods("redis", 3, 0, 200, 256 * MIB),
    Pods("postgresql", 1, 0, 200, 256 * MIB),
    Pods("celery-worker", 3, 1, 400, 512 * MIB),
    Pods("celery-beat", 1, 0, 250, 256 * MIB),
]


@pytest.mark.parametrize(
    ("text", "thousandths"), [("250m", 250), (250, 250_000), ("0.5", 500), ("2", 2000), (1.5, 1500), ("100.5m", 100)]
)
def test_cpu(text: Any, thousandths: int) -> None:
    assert cpu(text) == thousandths


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 512 * MIB), ("1Gi", 1024 * MIB), ("1G", 10**9), (1024, 1024), ("0.5Gi", 512 * MIB), ("1000m", 1)],
)
def test_memory(text: Any, size: int) -> None:
    assert memory(text) == size


@pytest.mark.parametrize("text", ["", "many", "-1", "1 Gi", "5mm", None, "1Zi"])
def test_no_quantities(text: Any) -> None:
    with pytest.raises(CeleryOpsError, match="is no quantity"):
        cpu(text)


def test_a_workload_from_its_variables() -> None:
    resources = {"requests": {"cpu": "400m", "memory": "512Mi"}, "limits": {"cpu": "800m"}}
    found = pods_from({"name": "celery-worker", "replicas": "3", "surge": 1, "resources": resources})
    assert found == Pods("celery-worker", 3, 1, 400, 512 * MIB)
    assert pods_from({"name": "x", "replicas": 1, "resources": {}}) == Pods("x", 1, 0, 0, 0)


@pytest.mark.parametrize(
    ("workload", "message"),
    [
        ({"replicas": "many", "resources": {}}, "replicas is no number"),
        ({"replicas": None, "resources": {}}, "replicas is no number"),
        ({"replicas": 1, "resources": "lots"}, "resources is no mapping"),
        ({"replicas": 1, "resources": {"requests": 3}}, "requests is no mapping"),
        ({"replicas": 1, "resources": {"requests": {"cpu": "lots"}}}, "'lots' is no quantity"),
    ],
)
def test_a_workload_that_is_none(workload: dict[str, Any], message: str) -> None:
    with pytest.raises(CeleryOpsError, match=message):
        pods_from({"name": "x", **workload})


def test_the_platform_fits_on_three_nodes() -> None:
    assert room(THREE, PLATFORM) == []


def test_the_surge_pod_counts() -> None:
    nodes = [Node("only", 1600, 8192 * MIB)]
    assert room(nodes, [Pods("celery-worker", 4, 0, 400, MIB)]) == []
    (finding,) = room(nodes, [Pods("celery-worker", 4, 1, 400, MIB)])
    assert "2000m CPU" in finding.expected
    assert "surge pods included: celery-worker 4+1 x 400m" in finding.expected
    assert "1600m CPU" in finding.found
    assert finding.found.endswith("no place for 1 of celery-worker")


def test_memory_counts_as_well() -> None:
    (finding,) = room([Node("only", 4000, 1024 * MIB)], [Pods("redis", 3, 0, 100, 400 * MIB)])
    assert finding.found.endswith("no place for 1 of redis")


def test_a_sum_that_fits_is_not_enough() -> None:
    # 1800m are left in all, and 900m nowhere.
    nodes = [Node("a", 900, MIB), Node("b", 900, MIB)]
    assert room(nodes, [Pods("small", 2, 0, 500, 0)]) == []
    assert room(nodes, [Pods("small", 2, 0, 500, 0), Pods("large", 1, 0, 700, 0)])[0].found.endswith(
        "no place for 1 of small"
    )


def test_no_node_at_all() -> None:
    assert "no node" in room([], [Pods("x", 1, 0, 1, 1)])[0].found


sizes = st.integers(min_value=0, max_value=4000)


@given(
    st.lists(st.builds(Node, st.uuids().map(str), sizes, sizes), max_size=4),
    st.lists(st.builds(Pods, st.uuids().map(str), st.integers(0, 4), st.integers(0, 1), sizes, sizes), max_size=4),
)
def test_more_than_there_is_never_fits(nodes: list[Node], workloads: list[Pods]) -> None:
    asked = sum(w.most * w.cpu for w in workloads)
    if asked > sum(node.cpu for node in nodes):
        assert len(room(nodes, workloads)) == 1
