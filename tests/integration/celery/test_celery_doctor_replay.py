# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor without a cluster: a saved snapshot is diagnosed by the module and printed by the playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import FORMAT

PODS = [
    {
        "metadata": {
            "name": f"worker-{name}",
            "creationTimestamp": made,
            "ownerReferences": [{"uid": "r1"}],
        },
        "spec": {"containers": [{"name": "worker", "image": "shop:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {
                    "name": "worker",
                    "restartCount": 6,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 1, "reason": "Error"}},
                }
            ],
        },
    }
    for name, made in (("a", "2026-01-01T11:00:00Z"), ("b", "2026-01-01T11:30:00Z"))
]
CASE = {
    "format": FORMAT,
    "namespace": "shop",
    "taken": "2026-01-01T12:00:00+00:00",
    "workers": ["celery-worker"],
    "objects": {
        "Deployment": [
            {
                "kind": "Deployment",
                "metadata": {"name": "celery-worker", "uid": "d1"},
                "spec": {
                    "replicas": 2,
                    "template": {
                        "spec": {"containers": [{"name": "worker", "args": ["celery", "-A", "shop", "worker"]}]}
                    },
                },
            }
        ],
        "ReplicaSet": [
            {
                "kind": "ReplicaSet",
                "metadata": {"name": "r", "uid": "r1", "ownerReferences": [{"uid": "d1"}]},
                "spec": {},
            }
        ],
        "Pod": PODS,
    },
    "logs": [
        {
            "pod": "worker-a",
            "container": "worker",
            "previous": True,
            "lines": ['Unrecoverable error: server:ReadOnlyError("You can\'t write against a read only replica.")'],
        }
    ],
}


@pytest.fixture
def case(tmp_path: Path) -> Path:
    path = tmp_path / "case.json"
    path.write_text(json.dumps(CASE), encoding="utf-8")
    return path


def causes(result: dict[str, Any]) -> list[str]:
    return [one["cause"] for one in result["findings"]]


def test_replay_is_the_same_in_check_mode_and_never_a_change(case: Path) -> None:
    results = [
        run_module("celery_doctor", {"replay_path": str(case)}, check=check) for check in (True, False, True, False)
    ]
    assert all(one.pop("seconds") >= 0 for one in results)
    assert {json.dumps(one, sort_keys=True) for one in results} == {json.dumps(results[0], sort_keys=True)}
    (result, *_rest) = results
    assert result["changed"] is False
    assert result["healthy"] is False
    assert causes(result) == ["broker-replica"]
    assert result["first"].startswith("worker-a wrote to a replica [broker-replica, likely]: log of pod/worker-a")
    assert [one["subject"] for one in result["unexplained"]] == ["pod/worker-b"]
    assert {"Node", "Event"} & {one["what"] for one in result["could_not_look"]} == set()
    assert "shared-memory" in {one["what"] for one in result["could_not_look"]}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({}, "namespace, replay_path"),
        ({"replay_path": "/nowhere/case.json"}, "No such file"),
        ({"replay_path": "a", "snapshot_path": "b"}, "mutually exclusive"),
        ({"namespace": "x", "kubeconfig": "/nowhere/config"}, "/nowhere/config"),
    ],
)
def test_bad_input(args: dict[str, Any], said: str) -> None:
    result = run_module("celery_doctor", args)
    assert result["failed"] is True
    assert said in result["msg"]


def test_playbook_prints_what_was_found_and_leaves_data(case: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "ansible-playbook",
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("-e", f"doctor_replay_path={case}"),
            "playbooks/doctor.yml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "ANSIBLE_SHOW_CUSTOM_STATS": "true",
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 finding, 1 of 2 troubles unexplained" in done.stdout
    assert "1. worker-a wrote to a replica  [broker-replica, likely]" in done.stdout
    assert "read only replica" in done.stdout
    assert "doctor_findings" in done.stdout.partition("CUSTOM STATS")[2]
