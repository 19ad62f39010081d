# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook disturbs nothing where the inventory does not say that it may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.modules import ROOT


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "Set drill_allowed to true"),
        (["--extra-vars", '{"drill_allowed": false}'], "Set drill_allowed to true"),
        # Allowed, and so it asks for the cluster, which is not there.
        (["--extra-vars", '{"drill_allowed": true, "platform_kubeconfig": "/nowhere"}'], "/nowhere"),
        (["--extra-vars", '{"drill_allowed": true, "drill_program": [{"drill": "flood"}]}'], "flood"),
    ],
)
def test_refused_unless_it_is_allowed(given: list[str], says: str) -> None:
    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "--inventory=localhost,",
            "--connection=local",
            f"--extra-vars=ansible_python_interpreter={sys.executable}",
            *given,
            "playbooks/drill.yml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert says in done.stdout + done.stderr
