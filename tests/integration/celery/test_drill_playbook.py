# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook disturbs nothing where the inventory does not say that it may, and reports a drill that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
    done = play(*given)
    assert done.returncode != 0
    assert says in done.stdout + done.stderr


def play(*given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
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
        env={**os.environ, "ANSIBLE_SHOW_CUSTOM_STATS": "true"},
        check=False,
    )


ELSEWHERE = {
    "redis_mode": "external",
    "redis_external": {"host": "redis.example.com"},
    "postgresql_provider": "external",
    "postgresql_external": {"host": "db.example.com", "database": "shop", "secret": {"name": "shop"}},
}


def failing(path: Path, **more: Any) -> str:
    """Allowed, where there is no cluster."""
    program = [{"drill": "worker_kill"}, {"drill": "redis_master_pod"}, {"drill": "node_drain", "repetitions": 2}]
    variables = {"drill_allowed": True, "platform_kubeconfig": "/nowhere", "drill_report_path": str(path)}
    return json.dumps({**variables, "drill_program": program, **more})


def test_drills_that_fail_are_reported_before_the_play_fails(tmp_path: Path) -> None:
    path = tmp_path / "drills.html"
    done = play("--extra-vars", failing(path))
    assert done.returncode != 0
    assert "drill_results" in done.stdout.partition("CUSTOM STATS")[2]
    text = path.read_text(encoding="utf-8")
    assert "<title>Drills of jewelry-shop: 0 of 3 kept their budget</title>" in text
    told = json.loads((tmp_path / "drills.json").read_text(encoding="utf-8"))
    assert [(drill["drill"], drill["outcome"]) for drill in told["drills"]] == [
        ("worker_kill", "stopped"),
        ("redis_master_pod", "stopped"),
        ("node_drain", "stopped"),
    ]
    assert all("/nowhere" in drill["message"] for drill in told["drills"])
    assert [drill["budget"] for drill in told["drills"]] == [
        {"lost": 0, "run_twice": 0, "elsewhere": 60.0},
        {"redis_gap": 10.0, "replica_writes": 0},
        {"lost": 0},
    ]
    # The same as a table in the play's output
    assert "redis_master_pod  stopped" in done.stdout


@pytest.mark.slow
def test_redis_and_postgresql_are_the_platforms_own_unless_told_otherwise() -> None:
    """What the module is given where the inventory says nothing, and where somebody else runs them."""
    given = ("--extra-vars", failing(Path("x"), drill_report_path=""), "-vvv")
    own, others = (play(*given, *more).stdout for more in ((), ("--extra-vars", json.dumps(ELSEWHERE))))
    assert "name: jewelry-shop-db" in own
    assert "secret: jewelry-app.jewelry-shop-db.credentials.postgresql.acid.zalan.do" in own
    assert "role: jewelry_app" in own
    assert "master_name: mymaster" in own
    for name in ("redis", "postgresql"):
        assert f" {name}: null" in others
        assert f" {name}: null" not in own


def test_no_drill_is_held_whose_report_could_not_be_written(tmp_path: Path) -> None:
    done = play("--extra-vars", failing(tmp_path / "missing/drills.html"))
    assert done.returncode != 0
    assert "correct drill_report_path" in done.stdout
    assert "/nowhere" not in done.stdout
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_without_a_path_or_without_permission(tmp_path: Path) -> None:
    for variables in (
        failing(tmp_path / "x", drill_report_path=""),
        failing(tmp_path / "drills.html", drill_allowed=False),
    ):
        assert play("--extra-vars", variables).returncode != 0
    assert not list(tmp_path.iterdir())
