# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a look from a running container is all that is needed."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat import runner


@pytest.mark.parametrize(
    ("seen", "settled"),
    [
        ({"changed": False}, True),
        ({"changed": True}, False),
        ({"changed": False, "tables": {"missing_tables": ["a"], "missing_columns": []}}, False),
        ({"changed": False, "tables": {"missing_tables": [], "missing_columns": []}}, True),
        # The survey of the settings changes nothing and so says nothing of it.
        ({"conf": {}, "tasks": []}, True),
    ],
)
def test_a_look_that_finds_nothing_to_do_is_enough(seen: dict[str, Any], settled: bool) -> None:
    assert runner.settled(seen) is settled
