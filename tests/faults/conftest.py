# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform that is damaged, and the table of what the doctor made of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_steps import ROOT, Place, Report

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect


@pytest.fixture(scope="session")
def place() -> Place:
    """The namespace of Molecule's scenario `faults`, on the cluster that KUBECONFIG names."""
    if "KUBECONFIG" not in os.environ:
        pytest.fail("the fault suite needs KUBECONFIG, and a platform as molecule/faults/converge.yml makes it")
    return Place(connect({"retry_timeout": 10}), os.environ.get("FAULTS_NAMESPACE", "celery-faults"))


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config) -> Iterator[Report]:
    """Written as data, and printed when the last fault is healed."""
    found = Report()
    yield found
    rows: list[dict[str, Any]] = found.rows
    path = Path(os.environ.get("FAULTS_REPORT", ROOT / "build/faults.json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": rows, **found.figures()}, indent=1) + "\n", encoding="utf-8")
    reporter = pytestconfig.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line("\n" + found.table())
