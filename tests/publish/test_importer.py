# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Galaxy does with an upload: its own program, on the tarball, without the tests that need an image of theirs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from helpers.modules import ROOT

TOOLS = ROOT / "build/venv/importer/bin"
# It says this of every collection that has ignores; what they ignore, and why, is for test_sanity.
ALWAYS = "WARNING: Ignore files skip ansible-test sanity tests, found ignore-"


def test_galaxy_takes_the_tarball_and_has_nothing_to_say(tarball: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(TOOLS / "python"), "-m", "galaxy_importer.main", "--print-result", str(tarball)],
        cwd=tmp_path,
        env={
            "PATH": f"{TOOLS}{os.pathsep}/usr/bin:/bin",
            "HOME": str(tmp_path),
            "LC_ALL": "C.UTF-8",
            # `make lint` has ansible-lint look by stricter rules; here it would get two minutes on any machine.
            "GALAXY_IMPORTER_RUN_ANSIBLE_LINT": "false",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    assert [line for line in complaints if not line.startswith(ALWAYS)] == []
    result = json.loads((tmp_path / "importer_result.json").read_text(encoding="utf-8"))
    assert {one["content_type"] for one in result["contents"]} >= {"role", "module", "action", "playbook"}
