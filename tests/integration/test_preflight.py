# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight on this machine, with each kind of bad input made for real and taken away again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.apiserver import ApiServer
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

Findings = list[dict[str, str]]
BIG = {"requests": {"cpu": "1000", "memory": "1Mi"}}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="makes networks, mounts or users' processes: needs root")


def look(**options: Any) -> Findings:
    """The findings, which are the same in check mode."""
    found = [run_module("preflight_info", options, check=check) for check in (False, True)]
    assert found[0]["findings"] == found[1]["findings"]
    assert found[0]["changed"] is False
    for finding in found[0]["findings"]:
        assert all(finding[key] for key in ("check", "expected", "found", "remedy"))
    findings: Findings = found[0]["findings"]
    return findings


def look_inside(prepare: str, *unshare: str, **options: Any) -> Findings:
    """The findings inside new namespaces, after a few commands there; this machine stays as it is."""
    module = f"{sys.executable} {ROOT}/plugins/modules/preflight_info.py"
    done = subprocess.run(
        ["unshare", *unshare, "sh", "-euc", f"{prepare}\nexec {module}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": {**options, "_ansible_remote_tmp": "/tmp"}}),  # noqa: S108
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "collections")},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    findings: Findings = json.loads(done.stdout)["findings"]
    return findings


def test_nothing_asked_nothing_found() -> None:
    assert look() == []


@pytest.mark.parametrize(
    ("options", "check", "remedy"),
    [
        ({"systems": {"plan9": ["4"]}}, "system", "preflight_systems"),
        ({"disk": [{"path": "/not/there/yet", "free": "9000Ti", "purpose": "building"}]}, "disk", "Make room there"),
        ({"memory": "9000Ti"}, "memory", "more memory"),
        (
            {"nodes": ["a"], "workloads": [{"name": "w", "replicas": 1, "resources": BIG}]},
            "capacity",
            "Add a node or a larger one",
        ),
        ({"workloads": [{"name": "w", "replicas": "many", "resources": BIG}]}, "capacity", "Correct its replicas"),
        ({"workloads": [{"name": "w", "replicas": 1, "resources": "lots"}]}, "capacity", "Correct its replicas"),
        ({"subnets": [{"variable": "kubeadm_pod_subnet", "subnet": "ten"}]}, "subnet", "Correct kubeadm_pod_subnet"),
    ],
)
def test_each_bad_input(options: dict[str, Any], check: str, remedy: str) -> None:
    (finding,) = look(**options)
    assert finding["check"] == check
    assert remedy in finding["remedy"]


def test_all_of_them_are_in_one_list() -> None:
    found = look(
        systems={"plan9": ["4"]},
        disk=[{"path": "/", "free": "9000Ti", "purpose": "x"}],
        nodes=["a"],
        memory="9000Ti",
        workloads=[{"name": "w", "replicas": 1, "resources": BIG}],
    )
    assert [finding["check"] for finding in found] == ["system", "disk", "capacity", "memory"]


def test_a_taken_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (finding,) = look(ports=[{"port": port, "purpose": "the test"}])
    assert finding["check"] == "port"
    assert f"sport = :{port}" in finding["remedy"]
    assert look(ports=[{"port": port, "purpose": "the test"}]) == []


@pytest.fixture
def podman() -> Iterator[Callable[..., str]]:
    """Makes a network and a container of one random name, and removes both."""
    name = f"preflight-{uuid.uuid4().hex[:8]}"

    def run(*argv: str) -> str:
        done = subprocess.run(["podman", *argv], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def make(*labels: str, root: Path) -> str:
        (root / "root").mkdir()
        run("network", "create", "--internal", "--subnet", "10.254.77.0/24", *labels, name)
        run("create", "--name", name, "--network", "none", *labels, "--rootfs", str(root / "root"), "/none")
        return name

    yield make
    subprocess.run(["podman", "rm", "--force", name], capture_output=True, check=False)
    subprocess.run(["podman", "network", "rm", "--force", name], capture_output=True, check=False)


@needs_root
def test_names_and_ranges_of_somebody_else(podman: Callable[..., str], tmp_path: Path) -> None:
    name = podman(root=tmp_path)
    subnets = [{"variable": "local_nodes_subnet", "subnet": "10.254.77.0/24"}]
    found = look(platform="mine", containers=[name], networks=[name], subnets=subnets)
    assert [finding["check"] for finding in found] == ["name", "name", "subnet"]
    assert found[2]["found"] == f"podman network {name} (10.254.77.0/24)"


@needs_root
def test_names_and_ranges_of_ones_own(podman: Callable[..., str], tmp_path: Path) -> None:
    name = podman("--label", "celeryops.platform=mine", root=tmp_path)
    subnets = [{"variable": "local_nodes_subnet", "subnet": "10.254.77.0/24"}]
    assert look(platform="mine", containers=[name], networks=[name], subnets=subnets) == []


@needs_root
def test_routes_and_nat_rules_that_are_left_over() -> None:
    prepare = """
        ip link set lo up
        ip link add left0 type bridge
        ip address add 10.254.1.1/24 dev left0
        ip link set left0 up
        mount -t sysfs none /sys
        sysctl -qw net.bridge.bridge-nf-call-iptables=1
        iptables -t nat -A POSTROUTING -s 10.254.0.0/16 ! -o left0 -j MASQUERADE
    """
    options = {
        "platform": "mine",
        "pod_subnet": "10.254.0.0/16",
        "subnets": [
            {"variable": "kubeadm_pod_subnet", "subnet": "10.254.0.0/16"},
            {"variable": "kubeadm_service_subnet", "subnet": "10.253.0.0/16"},
        ],
    }
    found = look_inside(prepare, "--net", "--mount", **options)
    assert [finding["check"] for finding in found] == ["subnet", "nat"]
    assert found[0]["found"] == "route 10.254.1.0/24 by left0"
    assert "-s 10.254.0.0/16 ! -o left0 -j MASQUERADE" in found[1]["found"]


@needs_root
def test_a_kernel_setting_that_cannot_be_raised() -> None:
    minimum = 2**31 - 1
    options = {"kernel": {"fs.inotify.max_user_instances": minimum}}
    assert look(**options) == []
    read_only = "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys"
    (finding,) = look_inside(read_only, "--mount", **options)
    assert finding["check"] == "kernel"
    assert f"sysctl -w fs.inotify.max_user_instances={minimum}" in finding["remedy"]


@needs_root
def test_a_user_who_cannot_become_root() -> None:
    # All is loaded before the user changes: checkout and Python may lie where nobody else can read.
    program = """
import json, os, sys
from ansible_collections.celeryops.platform.plugins.module_utils._preflight import facts, rules
os.setgroups([]); os.setgid(65534); os.setuid(65534)
machine = facts.gather(paths=[], sysctls=[], ports=[])
print(json.dumps([[f.as_dict() for f in rules.privileges(machine, password=p)] for p in (False, True)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "collections")},
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    without, with_password = json.loads(done.stdout)
    assert [finding["found"] for finding in without] == ["user nobody, whom sudo asks for a password"]
    assert with_password == []


def test_registries_count_only_when_something_has_to_be_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    dead = "http://127.0.0.1:9"
    (tmp_path / "apt.conf").write_text(f'Acquire::http::Proxy "{dead}";\nAcquire::https::Proxy "{dead}";\n')
    for name, value in {
        "PIP_INDEX_URL": f"{dead}/simple",
        "PIP_NO_INDEX": "0",
        "PIP_FIND_LINKS": "",
        "GOPROXY": dead,
        "APT_CONFIG": str(tmp_path / "apt.conf"),
    }.items():
        monkeypatch.setenv(name, value)
    assert look(python=sys.executable) == []
    found = look(building=["kubernetes"], python=sys.executable)
    assert [finding["check"] for finding in found] == ["registry"] * 3
    assert [finding["expected"].split("'")[0] for finding in found] == [
        "an answer from apt",
        "an answer from go",
        "an answer from pip",
    ]


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    found = look(existing=True, kubeconfig=str(kubeconfig), retry_timeout=1)
    assert [finding["check"] for finding in found] == ["cluster"]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "clusters": [{"name": "x", "cluster": {"server": "https://127.0.0.1:9"}}],
        "users": [{"name": "x", "user": {}}],
    }
    kubeconfig.write_text(json.dumps(config))
    (finding,) = look(existing=True, kubeconfig=str(kubeconfig), retry_timeout=1)
    assert finding["check"] == "cluster"
    assert "127.0.0.1:9" in finding["expected"]


def test_a_cluster_without_room_and_without_a_storage_class(api_server: ApiServer, api: Api) -> None:
    name = f"node-{uuid.uuid4().hex[:8]}"
    api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    path = f"/api/v1/nodes/{name}"
    status = {"status": {"allocatable": {"cpu": "2", "memory": "4Gi"}}}
    api.request("PATCH", f"{path}/status", body=status, content_type="application/merge-patch+json")
    # A node is born with a taint that a controller takes away; none runs here.
    api.request("PATCH", path, body={"spec": {"taints": None}}, content_type="application/merge-patch+json")
    small = {"name": "w", "replicas": 3, "surge": 1, "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}
    options = {"existing": True, "kubeconfig": str(api_server.kubeconfig)}
    try:
        (finding,) = look(workloads=[small], **options)
        assert finding["check"] == "storage"
        found = look(workloads=[{**small, "replicas": 4}], storage_class="fast", **options)
        assert [finding["check"] for finding in found] == ["storage", "capacity"]
        assert found[1]["found"].startswith("2000m CPU")
    finally:
        api.request("DELETE", path)


def test_the_module_refuses_options_without_sense() -> None:
    result = run_module("preflight_info", {"memory": "much"})
    assert result["failed"]
    assert "'much' is no quantity" in result["msg"]


def play(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The role on the inventory of `make site`, under a name and with ranges that nobody has."""
    playbook = tmp_path / "preflight.yml"
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": ["celeryops.platform.preflight"]}])
    )
    own = {
        "platform_name": f"test-{uuid.uuid4().hex[:8]}",
        "local_nodes_subnet": "10.254.60.0/24",
        "kubeadm_pod_subnet": "10.252.0.0/16",
        "kubeadm_service_subnet": "10.253.0.0/16",
        "preflight_disk_nodes": "1Mi",
    }
    return subprocess.run(
        [
            *(sys.executable, "-m", "ansible", "playbook", "-i", "inventories/local", str(playbook)),
            *("-e", json.dumps(own), *arguments),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("mode", [[], ["--check"]])
def test_the_role_finds_nothing_on_a_machine_that_will_do(tmp_path: Path, mode: list[str]) -> None:
    done = play(tmp_path, *mode)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout


@needs_root
def test_the_role_says_everything_at_once(tmp_path: Path) -> None:
    wrong = {
        "redis_replica": 3,
        "postgres_instances": 1,
        "postgresql_pooler_replicas": "several",
        "celery_worker_profile": "gigantic",
        "redis_resources": {"requests": 3},
        "celery_beat_resources": {"requests": {"cpu": "100", "memory": "1Mi"}},
        "preflight_systems": {"plan9": ["4"]},
        "kubeadm_service_subnet": "10.252.7.0/24",
    }
    done = play(tmp_path, "-e", json.dumps(wrong))
    assert done.returncode == 2, done.stdout
    text = done.stdout + done.stderr
    for expected in (
        "Did you mean redis_replicas?",
        "Did you mean postgresql_instances?",
        "postgresql_pooler_replicas",
        "redis_resources.requests must be a mapping",
        "value of celery_worker_profile must be one of",
        "no place for 1 of celery-beat",
        "one of: plan9 4",
        "kubeadm_pod_subnet and kubeadm_service_subnet apart from each other",
        "nothing was changed",
    ):
        assert expected in text, text
