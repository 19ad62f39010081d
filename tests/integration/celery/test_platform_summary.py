# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `platform_summary` prints when a play ends, in normal runs and in check mode."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.modules import ROOT

CHECKS = [
    {"name": "workers running", "passed": True, "evidence": "3 of 3 ready", "remedy": ""},
    {"name": "beat running", "passed": False, "evidence": "0 of 1 ready", "remedy": "look at its log"},
    {"name": "a task through each queue", "passed": None, "evidence": "no task was to be sent", "remedy": ""},
]
PODS = [{"name": "celery-beat-1", "node": "worker-1", "ready": False, "restarts": 4, "component": "celery-beat"}]


@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_every_check_pod_and_command_is_a_readable_line(tmp_path: Path, mode: list[str]) -> None:
    commands = [{"what": "remove it all", "command": "make down"}]
    task = {
        "celeryops.platform.platform_summary": {"title": "shop", "checks": CHECKS, "pods": PODS, "commands": commands}
    }
    playbook = tmp_path / "play.json"
    playbook.write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]), encoding="utf-8")
    done = subprocess.run(
        ["ansible-playbook", "-i", "localhost,", "-c", "local", *mode, str(playbook)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "shop: 1 of 3 checks passed, 1 open" in lines
    assert "passed workers running 3 of 3 ready" in lines
    assert any("beat running" in line and not line.startswith("passed") for line in lines), done.stdout
    assert "look at its log" in " ".join(lines)
    assert any(line.startswith("celery-beat-1 worker-1") and line.endswith("4") for line in lines), done.stdout
    assert "remove it all make down" in lines
    assert "changed=0" in done.stdout
    stats = json.loads(done.stdout.partition("CUSTOM STATS")[2].partition("RUN: ")[2].strip())
    assert stats["platform_report"] == {
        "title": "shop",
        "passed": 1,
        "failed": {"beat running": "0 of 1 ready"},
        "open": {"a task through each queue": "no task was to be sent"},
        "proved": False,
    }
