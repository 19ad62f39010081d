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
# What it says of every collection that is below version 1, or is imported beside no Galaxy.
ALWAYS: tuple[str, ...] = ()


def test_galaxy_takes_the_tarball_and_has_nothing_to_say(tarball: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [str(TOOLS / "python"), "-m", "galaxy_importer.main", "--print-result", str(tarball)],
        cwd=tmp_path,
        env={"PATH": f"{TOOLS}{os.pathsep}/usr/bin:/bin", "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-6000:]
    complaints = [line for line in said.splitlines() if line.startswith(("WARNING", "ERROR", "CRITICAL"))]
    assert complaints == []
    result = json.loads((tmp_path / "importer_result.json").read_text(encoding="utf-8"))
    assert {one["content_type"] for one in result["contents"]} >= {"role", "module", "action", "playbook"}
