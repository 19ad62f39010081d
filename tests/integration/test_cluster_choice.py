# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role cluster with the inventories of the project: what it chooses, what it says of that, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers.k3d import STANDINS, standin_state
from helpers.modules import ROOT

BOOK = """
- hosts: localhost
  gather_facts: false
  roles: [celeryops.platform.cluster]
"""
EMPTY = """
all:
  hosts:
    localhost: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}
"""
NOWHERE = "the inventory has no hosts in k3s_server or k8s_cluster"


@pytest.fixture(autouse=True)
def nothing_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither credentials nor k3d nor Docker, whatever this machine has; an inventory that names nothing."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    for program in ("sh", "env", "python3"):
        (tmp_path / "bin" / program).symlink_to(Path("/usr/bin") / program)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "hosts.yml").write_text(EMPTY)
    (tmp_path / "play.yml").write_text(BOOK)


def run(folder: Path, inventory: str | Path, **variables: Any) -> tuple[int, str]:
    """Exit status and output, with its lines unfolded."""
    ran = subprocess.run(
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            str(inventory),
            "-e",
            json.dumps(variables),
            str(folder / "play.yml"),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, re.sub(r"\s+", " ", ran.stdout + ran.stderr)


@pytest.mark.parametrize(
    ("inventory", "said"),
    [
        ("inventories/local", "kubeadm, because the inventory has 3 hosts in k8s_cluster"),
        ("inventories/k3s_single", "k3s, because the inventory has 1 host in k3s_server"),
        ("inventories/k3s_ha", "k3s, because the inventory has 3 hosts in k3s_server"),
        ("inventories/k3d", "k3d, because cluster_provider says so"),
        ("inventories/existing", "existing, because cluster_provider says so"),
    ],
)
def test_the_inventories_of_the_project(tmp_path: Path, inventory: str, said: str) -> None:
    status, output = run(tmp_path, inventory)
    assert (status, said in output) == (0, True), output


def test_credentials_choose_a_cluster_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _status, output = run(tmp_path, tmp_path / "hosts.yml", platform_kubeconfig="/a/kubeconfig")
    assert f"existing, because {NOWHERE}, and platform_kubeconfig is /a/kubeconfig" in output
    _status, output = run(tmp_path, tmp_path / "hosts.yml", platform_context="work")
    assert f"existing, because {NOWHERE}, and platform_context is work" in output
    monkeypatch.setenv("KUBECONFIG", "/another/kubeconfig")
    _status, output = run(tmp_path, tmp_path / "hosts.yml")
    assert f"existing, because {NOWHERE}, and KUBECONFIG is /another/kubeconfig" in output


def test_k3d_comes_last_and_only_where_docker_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = standin_state(tmp_path, monkeypatch)
    for program in ("k3d", "docker"):
        (tmp_path / "bin" / program).symlink_to(STANDINS / f"{program}-standin")
    status, output = run(tmp_path, tmp_path / "hosts.yml")
    assert status == 0
    assert f"k3d, because {NOWHERE}, nothing names a cluster's credentials, and k3d and Docker answer here" in output
    state.write_text(json.dumps({"docker": "down"}))
    status, output = run(tmp_path, tmp_path / "hosts.yml")
    assert status != 0
    assert "Docker does not answer here" in output


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({}, "k3d and docker are not installed here"),
        ({"cluster_provider": "k3s"}, "expected: hosts in the group k3s_server; found: none"),
        (
            {"cluster_provider": "minikube"},
            "value of cluster_provider must be one of: auto, k3s, k3d, kubeadm, existing",
        ),
    ],
)
def test_nothing_is_guessed(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    status, output = run(tmp_path, tmp_path / "hosts.yml", **variables)
    assert (status != 0, said in output) == (True, True), output
