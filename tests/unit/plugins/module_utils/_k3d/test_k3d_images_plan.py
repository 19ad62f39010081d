# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes lack which image, and under which reference containerd keeps it."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._images.plan import KEY_LABEL, Image
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.images import full_reference, lacking


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("redis", "docker.io/library/redis:latest"),
        ("redis:7", "docker.io/library/redis:7"),
        ("shop/app:1", "docker.io/shop/app:1"),
        ("localhost/celeryops/app:1", "localhost/celeryops/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("ghcr.io/a/b@sha256:0", "ghcr.io/a/b@sha256:0"),
    ],
)
def test_references_are_written_out(short: str, full: str) -> None:
    assert full_reference(short) == full


def test_every_node_is_looked_at() -> None:
    old, new = Image("a:1", "", "old"), Image("b:1", "", "key")
    nodes = {
        "server-0": {"a:1": {KEY_LABEL: "old"}, "b:1": {KEY_LABEL: "other"}},
        "agent-0": {"a:1": {KEY_LABEL: "old"}},
    }
    assert lacking([old, new], nodes) == {
        old: {},
        new: {"server-0": "built from other inputs", "agent-0": "not there"},
    }
