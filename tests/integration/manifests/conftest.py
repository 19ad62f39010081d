# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of the module manifests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.apiserver import ApiServer
from helpers.faults import Proxy, fault_proxy


@pytest.fixture
def proxy(api_server: ApiServer, tmp_path: Path) -> Iterator[Proxy]:
    """Between a test and the API server; passes everything on until it gets a rule."""
    with fault_proxy(api_server, tmp_path) as found:
        yield found
