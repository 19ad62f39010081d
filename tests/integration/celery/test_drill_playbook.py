# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook of the drills disturbs nothing where nobody said that it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.modules import ROOT


def test_nothing_is_disturbed_unless_the_inventory_allows_it() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "--inventory=localhost,", "playbooks/drill.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    assert "Set drill_allowed to true in the inventory of a platform that may be disturbed" in done.stdout
    # It is the first that is asked: no cluster was looked for.
    assert "celery_drill" not in done.stdout
