# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees of the probes, by celery's own command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from celery_running import FILES


def test_each_file_is_a_line(tmp_path: Path) -> None:
    (tmp_path / "alive").write_text("120 ticking\n", encoding="utf-8")
    (tmp_path / "ready").write_text("90 ticking\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(FILES), "CELERYOPS_STATE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "celery", "celeryops-probe"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["alive: 120 ticking", "ready: 90 ticking"]
