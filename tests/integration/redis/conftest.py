# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_servers import Group, group_of_three


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    """Shared by a module: for tests that leave the servers as they found them."""
    with group_of_three(tmp_path_factory.mktemp("redis")) as servers:
        yield servers


@pytest.fixture
def own_group(tmp_path: Path) -> Iterator[Group]:
    """For tests that break something."""
    with group_of_three(tmp_path) as servers:
        yield servers
