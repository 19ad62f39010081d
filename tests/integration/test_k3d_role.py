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
from typing import Any

import pytest
import yaml
from helpers.k3d import STANDINS, standin_state
from helpers.modules import ROOT

pytestmark = pytest.mark.slow

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
    """Runs a playbook with the inventory and returns its output; `changed`, or that it was `refused`, is asserted."""
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

    def play(book: Path, *options: str, changed: int = 0, refused: bool = False, **declared: Any) -> str:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/k3d"]
        ran = subprocess.run(
            [*command, "-e", json.dumps(variables | declared), *options, str(book)],
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode != 0) == refused, ran.stdout + ran.stderr
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


def nodes(state: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(state.read_text())["containers"]
    return found


def test_a_declaration_becomes_a_cluster_and_is_compared_with_it(run: Run, tmp_path: Path) -> None:
    """Every setting of the role's, by way of the role: what is added, what is refused, and what is made anew."""
    book, state = tmp_path / "play.yml", tmp_path / "state.json"
    archive = tmp_path / "shop.tar"
    archive.write_text("localhost/celeryops/shop:1")
    declared: dict[str, Any] = {
        "k3d_version": "v1.34.1+k3s1",
        "k3d_servers": 3,
        "k3d_agents": 1,
        "k3d_ports": [{"port": "127.0.0.1:8080:80"}],
        "k3d_volumes": [{"volume": "/srv/data:/data", "node_filters": ["agent:*"]}],
        "k3d_k3s_args": [{"arg": "--disable=traefik"}],
        "k3d_registry": {"name": "desk-registry", "port": 5005},
        "k3d_images": [{"reference": "localhost/celeryops/shop:1", "archive": str(archive), "key": "one"}],
    }
    # The cluster, its images and its context.
    run(book, changed=3, **declared)
    made = nodes(state)
    assert sorted(one["role"] for one in made.values()) == [
        "agent",
        "loadbalancer",
        "registry",
        "server",
        "server",
        "server",
    ]
    agent = made["k3d-desk-agent-0"]
    assert agent["image"] == "docker.io/rancher/k3s:v1.34.1-k3s1"
    assert agent["binds"] == ["/srv/data:/data"]
    assert "--disable=traefik" in made["k3d-desk-server-2"]["command"]
    assert "--disable=traefik" not in agent["command"]
    assert made["k3d-desk-serverlb"]["ports"]["80/tcp"] == [{"HostIp": "127.0.0.1", "HostPort": "8080"}]
    assert made["desk-registry"]["ports"] == {"5000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "5005"}]}
    assert "localhost/celeryops/shop:1" in agent["imported"]
    run(book, changed=0, **declared)

    # What is missing is added, and has the images of the others.
    grown = declared | {"k3d_agents": 2, "k3d_ports": [*declared["k3d_ports"], {"port": "127.0.0.1:8443:443"}]}
    run(book, "--check", changed=1, **grown)
    assert nodes(state).keys() == made.keys()
    run(book, changed=2, **grown)
    assert "localhost/celeryops/shop:1" in nodes(state)["k3d-desk-agent-1-0"]["imported"]
    assert "443/tcp" in nodes(state)["k3d-desk-serverlb"]["ports"]

    # What cannot be changed in place is reported, and nothing is touched.
    before = state.read_text()
    newer = grown | {"k3d_version": "v1.35.5+k3s1", "k3d_k3s_args": [{"arg": "--disable=servicelb"}]}
    for options in (["--check"], []):
        said = run(book, *options, refused=True, **newer)
        assert "image: docker.io/rancher/k3s:v1.35.5-k3s1" in said
        assert "args: --disable=servicelb@server:*" in said
        assert "-e k3d_recreate=true" in said
    assert state.read_text() == before

    # The cluster, its images; the context has the same credentials as before, for the stand-in has only those.
    run(book, changed=2, k3d_recreate=True, **newer)
    assert nodes(state)["k3d-desk-agent-1"]["image"] == "docker.io/rancher/k3s:v1.35.5-k3s1"
    run(book, changed=0, **newer)
