# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plays of inventories/k3d against the stand-ins of tests/standins/k3d: the cluster, its context, and its end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.k3d import STANDINS, standin_state
from helpers.modules import ROOT

Run = Callable[..., str]
BOOK = """
- hosts: localhost
  gather_facts: false
  roles: [celeryops.platform.cluster]
- import_playbook: celeryops.platform.clusters.k3d
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug: {msg: "handed on {{ platform_context }} in {{ platform_kubeconfig }}"}
"""


def kubeconfig(name: str) -> str:
    """A kubeconfig with one context."""
    entry = {"cluster": name, "user": name}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example.com:6443"}}],
        "contexts": [{"name": name, "context": entry}],
        "users": [{"name": name, "user": {"token": "example"}}],
    }
    return yaml.safe_dump(config)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a playbook with the inventory and returns its output; `changed` is asserted."""
    standin_state(tmp_path, monkeypatch)
    (tmp_path / "printed").write_text(kubeconfig("printed"))
    (tmp_path / "kubeconfig").write_text(kubeconfig("work"))
    (tmp_path / "play.yml").write_text(BOOK)
    monkeypatch.setenv("K3D_STANDIN_KUBECONFIG", str(tmp_path / "printed"))
    variables = {
        "k3d_program": str(STANDINS / "k3d-standin"),
        "k3d_docker": str(STANDINS / "docker-standin"),
        "platform_kubeconfig": str(tmp_path / "kubeconfig"),
        "platform_name": "desk",
    }

    def play(book: Path, *options: str, changed: int) -> str:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/k3d"]
        ran = subprocess.run(
            [*command, "-e", json.dumps(variables), *options, str(book)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        counted = re.search(r"changed=(\d+)", ran.stdout)
        assert counted is not None
        assert int(counted[1]) == changed, ran.stdout
        return ran.stdout

    return play


def contexts(path: Path) -> list[str]:
    return [one["name"] for one in yaml.safe_load(path.read_text())["contexts"]]


def test_a_desk(run: Run, tmp_path: Path) -> None:
    book, config = tmp_path / "play.yml", tmp_path / "kubeconfig"
    before = config.read_text()
    run(book, "--check", "--diff", changed=1)
    assert config.read_text() == before

    said = run(book, changed=2)
    assert "k3d, because cluster_provider says so" in said
    assert f"handed on k3d-desk in {config}" in said
    assert contexts(config) == ["work", "k3d-desk"]
    assert yaml.safe_load(config.read_text())["current-context"] == "work"
    run(book, "--check", changed=0)
    run(book, changed=0)

    run(ROOT / "playbooks/teardown.yml", "--check", changed=2)
    run(ROOT / "playbooks/teardown.yml", changed=2)
    assert contexts(config) == ["work"]
    run(ROOT / "playbooks/teardown.yml", changed=0)
