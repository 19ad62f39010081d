# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node of its own in real podman: made, reached over SSH, configured, stopped, made anew and removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import ROOT, run_module

pytestmark = [
    pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed"),
    pytest.mark.skipif(os.geteuid() != 0, reason="nodes need root"),
]

SUBNET, ADDRESS = "10.89.251.0/24", "10.89.251.11"


def podman(*args: str) -> str:
    return subprocess.run(["podman", *args], capture_output=True, text=True, check=True).stdout.strip()


def node_artifact() -> tuple[str, str]:
    """Reference and archive of the newest image of a node in the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celeryops/artifacts/node")
    found = sorted(cache.glob("*/artifact.json"), key=lambda path: path.stat().st_mtime)
    assert found, "the image of a node is not built yet: run `make artifacts`"
    return json.loads(found[-1].read_text())["reference"], str(found[-1].with_name("image.tar"))


@dataclass
class Lab:
    """A platform of one node, under a name that nothing else has."""

    folder: Path
    name: str = field(default_factory=lambda: f"it-{uuid.uuid4().hex[:8]}")

    def __post_init__(self) -> None:
        key = self.folder / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        self.key = key
        self.reference, self.archive = node_artifact()

    @property
    def container(self) -> str:
        return f"{self.name}-cp-1"

    def present(self, *, check: bool = False, diff: bool = False, **change: Any) -> dict[str, Any]:
        declared = {
            "platform": self.name,
            "image": self.reference,
            "archive": self.archive,
            "network": f"celeryops-{self.name}",
            "subnet": SUBNET,
            "volumes": ["/var/lib/etcd"],
            "ulimits": ["nofile=20000:20000", "nproc=32000:32000"],
            "authorized_key": self.key.with_suffix(".pub").read_text(),
            "nodes": [{"name": "cp-1", "address": ADDRESS}],
        }
        return run_module("local_nodes", declared | change, check=check, diff=diff)

    def absent(self, *, check: bool = False) -> dict[str, Any]:
        return run_module("local_nodes", {"platform": self.name, "state": "absent"}, check=check)

    def known_hosts(self, result: dict[str, Any]) -> Path:
        path = self.folder / "known_hosts"
        path.write_text("".join(f"{n['address']} {n['host_key']}\n" for n in result["nodes"]))
        return path

    def ssh_options(self, known_hosts: Path) -> list[str]:
        return [
            *("-i", str(self.key), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={known_hosts}", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "ControlPath=none"),
        ]

    def ssh(self, known_hosts: Path, *command: str) -> subprocess.CompletedProcess[str]:
        argv = ["ssh", *self.ssh_options(known_hosts), f"root@{ADDRESS}", *command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)

    def on_node(self, module: str, args: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
        """A module of the collection on the node, over SSH as a play would run it."""
        options = " ".join(self.ssh_options(self.folder / "known_hosts"))
        argv = [
            str(Path(sys.executable).with_name("ansible")),
            *("all", "-i", f"{ADDRESS},", "-u", "root", "-m", f"celeryops.platform.{module}"),
            *("-a", json.dumps(args), "-e", "ansible_python_interpreter=/usr/bin/python3"),
            f"--ssh-common-args={options}",
            *(["--check"] if check else []),
        ]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json"},
        )
        head, arrow, text = done.stdout.partition(" => ")
        assert arrow, done.stdout + done.stderr
        return {**json.loads(text), "failed": "FAILED!" in head}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.absent()


@pytest.fixture(scope="module")
def made(lab: Lab) -> dict[str, Any]:
    """The node, made in the four steps that show a module to be honest; the last result."""
    planned = lab.present(check=True)
    assert planned["changed"]
    assert f"create container {lab.container}" in planned["actions"]
    assert planned["nodes"][0]["host_key"] == ""
    assert lab.container not in podman("ps", "--all", "--format", "{{.Names}}").splitlines()
    first = lab.present()
    assert first["changed"], first
    assert [a for a in first["actions"] if a in planned["actions"]] == planned["actions"]
    assert not lab.present(check=True)["changed"]
    second = lab.present()
    assert not second["changed"], second["actions"]
    lab.known_hosts(second)
    return second


def test_the_node_is_reached_under_its_own_host_key(lab: Lab, made: dict[str, Any]) -> None:
    done = lab.ssh(lab.known_hosts(made), "hostname")
    assert (done.returncode, done.stdout.strip()) == (0, "cp-1"), done.stderr


def test_another_host_key_is_refused(lab: Lab, made: dict[str, Any], tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    wrong = tmp_path / "known_hosts"
    wrong.write_text(f"{ADDRESS} {other.with_suffix('.pub').read_text()}")
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in lab.ssh(wrong, "true").stderr


def test_nothing_leaves_the_node_s_network(lab: Lab, made: dict[str, Any]) -> None:
    assert "default" not in lab.ssh(lab.known_hosts(made), "ip route").stdout


def test_everything_carries_the_platform_s_label(lab: Lab, made: dict[str, Any]) -> None:
    label = f"label=celeryops.platform={lab.name}"
    assert podman("ps", "--filter", label, "--format", "{{.Names}}") == lab.container
    assert podman("volume", "ls", "--filter", label, "-q") == f"{lab.container}-var-lib-etcd"
    assert podman("network", "ls", "--filter", label, "-q") == f"celeryops-{lab.name}"


def test_the_node_s_systemd_has_control_groups_of_its_own(lab: Lab, made: dict[str, Any]) -> None:
    """Shared ones would go with the first node that shuts down, and with them the other nodes' containers."""
    identity, pid = podman("inspect", "--format", "{{.Id}} {{.State.Pid}}", lab.container).split()
    paths = [line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    assert [path for path in paths if identity not in path] == []
    state = lab.ssh(lab.known_hosts(made), "systemctl is-system-running")
    assert state.stdout.strip() == "running"


def test_a_stopped_node_comes_back_as_the_same(lab: Lab, made: dict[str, Any]) -> None:
    podman("stop", "--time", "5", lab.container)
    result = lab.present()
    assert f"start container {lab.container}" in result["actions"]
    assert not [action for action in result["actions"] if action.startswith(("create", "remove"))]
    assert result["nodes"] == made["nodes"]
    assert not lab.present()["changed"]


def test_a_changed_declaration_is_reported_and_the_node_kept(lab: Lab, made: dict[str, Any]) -> None:
    before = podman("inspect", "--format", "{{.Id}}", lab.container)
    result = lab.present(mounts=[{"source": "/usr/share"}])
    assert result["failed"]
    assert "/usr/share:/usr/share:ro" in result["msg"]
    assert "local_nodes_recreate=true" in result["msg"]
    assert podman("inspect", "--format", "{{.Id}}", lab.container) == before


@pytest.mark.slow
def test_the_configuration_of_the_node_is_planned_applied_and_kept(lab: Lab, made: dict[str, Any]) -> None:
    unit = "/etc/systemd/system/celeryops-test.service"
    args: dict[str, Any] = {
        "packages": ["runc", "no-such-package"],
        "files": [{"path": "/etc/celeryops-test.conf", "content": "one\n"}],
        "links": [{"path": "/usr/local/bin/sh-of-test", "target": "/bin/sh"}],
        "sysctls": {"net.ipv4.ip_forward": "1"},
        "routes": [{"destination": "10.46.9.0/24", "via": "10.89.251.12"}],
    }
    planned = lab.on_node("node_config", args, check=True)
    assert planned["changed"]
    assert planned["missing_packages"] == ["no-such-package"]
    assert lab.on_node("node_config", args)["actions"] == planned["actions"]
    assert lab.on_node("node_config", args, check=True)["changed"] is False
    assert lab.on_node("node_config", args)["changed"] is False

    service = "[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    with_unit = {
        "files": [*args["files"], {"path": unit, "content": service}],
        "units": [{"name": "celeryops-test.service", "watches": ["/etc/celeryops-test.conf", unit]}],
    }
    assert lab.on_node("node_config", with_unit)["actions"] == [
        f"write {unit}",
        "enable celeryops-test.service",
        "start celeryops-test.service",
    ]
    assert lab.on_node("node_config", with_unit)["changed"] is False
    with_unit["files"] = [{"path": "/etc/celeryops-test.conf", "content": "two\n"}]
    assert lab.on_node("node_config", with_unit)["outdated_units"] == ["celeryops-test.service"]


@pytest.mark.slow
def test_a_node_without_a_cluster_says_so_and_plans_to_begin_one(lab: Lab, made: dict[str, Any]) -> None:
    state = lab.on_node("kubeadm_cluster_info", {"nodes": ["cp-1"]})
    assert (state["initialised"], state["complete"]) == (False, False)
    assert state["unmet"] == ["the control plane is not initialised"]
    plan = lab.on_node("kubeadm_member", {"action": "init", "config": ""}, check=True)
    assert (plan["changed"], plan["steps"]) == (True, ["init"])
    waited = lab.on_node("kubeadm_cluster_info", {"nodes": ["cp-1"], "wait_for": "ready", "timeout": 1})
    assert waited["failed"]
    assert "the control plane is not initialised" in waited["msg"]


def test_a_node_is_made_anew_when_that_is_asked_for(lab: Lab, made: dict[str, Any]) -> None:
    result = lab.present(mounts=[{"source": "/usr/share"}], recreate=True)
    assert f"remove container {lab.container}" in result["actions"]
    assert result["nodes"][0]["host_key"] != made["nodes"][0]["host_key"]
    assert lab.ssh(lab.known_hosts(result), "ls /usr/share/ca-certificates").returncode == 0
    assert lab.ssh(lab.known_hosts(result), "touch /usr/share/x").returncode != 0


def test_removal_leaves_nothing_and_twice_is_fine(lab: Lab, made: dict[str, Any]) -> None:
    bridge = json.loads(podman("network", "inspect", f"celeryops-{lab.name}"))[0]["network_interface"]
    planned = lab.absent(check=True)
    assert planned["changed"]
    assert lab.container in podman("ps", "--format", "{{.Names}}").splitlines()
    assert lab.absent()["actions"] == planned["actions"]
    assert not lab.absent(check=True)["changed"]
    assert not lab.absent()["changed"]
    for left in (
        podman("ps", "--all", "--format", "{{.Names}}"),
        podman("volume", "ls", "-q"),
        podman("network", "ls", "-q"),
    ):
        assert lab.name not in left
    assert not Path("/sys/class/net", bridge).exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"subnet": "10.89.251.0/33"}, "subnet of network"),
        ({"nodes": [{"name": "a", "address": "10.0.0.1"}]}, "outside 10.89.251.0/24"),
        ({"image": "localhost/no-such-image:1", "archive": None}, "not in podman's storage"),
        ({"kernel_minimums": {"fs.no_such_setting": 1}}, "no kernel setting fs.no_such_setting"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    lab = Lab(tmp_path)
    result = lab.present(**change)
    assert result["failed"]
    assert said in result["msg"]
    assert result["actions"] == []
    assert lab.name not in podman("network", "ls", "-q")
