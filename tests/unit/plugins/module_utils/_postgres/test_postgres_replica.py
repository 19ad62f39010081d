# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose volume may be replaced."""

from __future__ import annotations

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.patroni import Member
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.replica import needed

INSTANCES = ("db-0", "db-1", "db-2")
PRIMARY = Member("db-0", "a", True, "primary", "running", 1, False)
STREAMS = Member("db-1", "b", True, "replica", "running", 1, False, "streaming")
LOST = Member("db-2", "c", False, "replica", "running", 1, False, "streaming")
BEHIND = Member("db-2", "c", True, "replica", "running", 1, False, "")


def test_a_replica_that_streams_is_left_alone() -> None:
    assert not needed("db-1", INSTANCES, (PRIMARY, STREAMS), "db-0", force=False)
    assert needed("db-1", INSTANCES, (PRIMARY, STREAMS), "db-0", force=True)


@pytest.mark.parametrize("members", [(PRIMARY, STREAMS, LOST), (PRIMARY, STREAMS, BEHIND), (PRIMARY, STREAMS)])
def test_one_that_does_not_gets_another_volume(members: tuple[Member, ...]) -> None:
    assert needed("db-2", INSTANCES, members, "db-0", force=False)


@pytest.mark.parametrize(
    ("pod", "members", "leader", "words"),
    [
        ("db-3", (PRIMARY,), "db-0", "no instance of the cluster"),
        ("db-0", (PRIMARY, STREAMS), "db-0", "leads the cluster"),
        ("db-2", (STREAMS, LOST), None, "no primary to copy from"),
        ("db-1", (STREAMS, LOST), "db-2", "no primary to copy from"),
    ],
)
def test_what_could_cost_data_is_refused_even_by_force(
    pod: str, members: tuple[Member, ...], leader: str | None, words: str
) -> None:
    with pytest.raises(CeleryOpsError, match=words):
        needed(pod, INSTANCES, members, leader, force=True)
