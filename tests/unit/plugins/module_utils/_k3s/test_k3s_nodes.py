# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes as an API server has them, held against what was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.nodes import Wanted, node, unmet

HEARD = 1767323045.0  # 2026-01-02T03:04:05Z


def item(**status: Any) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "message": "well", "lastHeartbeatTime": "2026-01-02T03:04:05Z"}
    return {
        "metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/control-plane": "true"}},
        "status": {"conditions": [{"type": "DiskPressure"}, {**ready, **status}], "nodeInfo": {"kubeletVersion": "v1"}},
    }


def test_a_node_is_read() -> None:
    found = node(item(), None)
    assert (found.name, found.ready, found.version, found.heard) == ("n1", True, "v1", HEARD)
    assert (found.server, found.etcd) == (True, False)
    assert node(item(), {"spec": {"renewTime": "2026-01-02T03:04:06.500000Z"}}).heard == HEARD + 1.5
    fresh = node({"metadata": {"name": "n1"}}, None)
    assert (fresh.ready, fresh.reason, fresh.heard) == (False, "no condition Ready yet", 0)


@pytest.mark.parametrize(
    ("wanted", "missing"),
    [
        (Wanted("n1"), []),
        (Wanted("n1", "v1", HEARD), []),
        (Wanted("n1", "v1", HEARD + 0.9), []),
        (Wanted("n1", "v1", HEARD + 2), ["node n1 has not been heard of since its service was started"]),
        (Wanted("n1", "v2"), ["node n1 runs v1, not v2"]),
        (Wanted("n2"), ["node n2 has not joined"]),
    ],
)
def test_what_is_missing(wanted: Wanted, missing: list[str]) -> None:
    assert unmet([node(item(), None)], [wanted]) == missing


def test_a_node_that_is_not_ready_says_why() -> None:
    found = node(item(status="False", message="no network"), None)
    assert unmet([found], [Wanted("n1")]) == ["node n1 is not ready: no network"]
