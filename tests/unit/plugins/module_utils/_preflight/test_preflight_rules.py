# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine against what is needed of it: each rule with a machine that will do and one that will not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._preflight import rules
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import (
    Container,
    Finding,
    Machine,
    PodmanNetwork,
)

GIB = 2**30
MACHINE = Machine(
    system="debian",
    system_version="12",
    system_name="Debian GNU/Linux 12 (bookworm)",
    euid=0,
    can_become=True,
    cpus=2,
    memory=8 * GIB,
    disk_free={"/cache": 30 * GIB},
    sysctls={"fs.inotify.max_user_instances": (128, True)},
)
OURS, THEIRS = {"celeryops.platform": "local"}, {"celeryops.platform": "other"}


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    assert all((finding.expected, finding.found, finding.remedy))
    return finding


@pytest.mark.parametrize(
    ("euid", "can_become", "password"), [(0, False, False), (1000, True, False), (1000, False, True)]
)
def test_three_ways_to_be_root(euid: int, can_become: bool, password: bool) -> None:
    assert rules.privileges(replace(MACHINE, euid=euid, can_become=can_become), password=password) == []


def test_no_way_to_be_root() -> None:
    user = replace(MACHINE, euid=1000, can_become=False, user="ann")
    assert "user ann" in only(rules.privileges(user, password=False)).found


def test_systems() -> None:
    assert rules.system(MACHINE, {"debian": ["12", "13"]}) == []
    assert rules.system(MACHINE, {}) == []
    finding = only(rules.system(MACHINE, {"debian": ["13"], "ubuntu": ["24.04"]}))
    assert finding.expected == "one of: debian 13, ubuntu 24.04"
    assert finding.found == "Debian GNU/Linux 12 (bookworm)"
    assert only(rules.system(Machine(), {"debian": ["12"]})).found == "no /etc/os-release"


def test_disk() -> None:
    assert rules.disk(MACHINE, [("/cache", 30 * GIB, "x"), ("/not-read", 99 * GIB, "x")]) == []
    finding = only(rules.disk(MACHINE, [("/cache", 31 * GIB, "building")]))
    assert finding.expected == "31.0 GiB free at /cache for building"
    assert finding.found == "30.0 GiB"


def test_memory() -> None:
    assert rules.memory(MACHINE, 8 * GIB, "x") == []
    assert rules.memory(replace(MACHINE, memory=None), 8 * GIB, "x") == []
    assert only(rules.memory(MACHINE, 9 * GIB, "x")).found == "8.0 GiB"


def test_kernel_settings_count_only_where_they_cannot_be_raised() -> None:
    wanted = {"fs.inotify.max_user_instances": 1024}
    fixed = replace(MACHINE, sysctls={"fs.inotify.max_user_instances": (128, False)})
    assert rules.kernel(MACHINE, wanted) == []
    assert rules.kernel(replace(fixed, sysctls={"fs.inotify.max_user_instances": (1024, False)}), wanted) == []
    assert rules.kernel(Machine(), wanted) == []
    assert "sysctl -w fs.inotify.max_user_instances=1024" in only(rules.kernel(fixed, wanted)).remedy


def test_names() -> None:
    machine = replace(
        MACHINE,
        containers=(Container("local-cp-1", OURS), Container("local-cp-2", THEIRS), Container("else")),
        networks=(PodmanNetwork("celeryops-local", "cni1", (), {}),),
    )
    found = rules.names(machine, "local", ["local-cp-1", "local-cp-2", "local-cp-3"], ["celeryops-local", "free"])
    assert [finding.remedy.split(")")[0] for finding in found] == [
        "Remove it (podman rm local-cp-2",
        "Remove it (podman network rm celeryops-local",
    ]


def test_ports() -> None:
    found = only(rules.ports(replace(MACHINE, ports_taken=(80,)), [(80, "the ingress"), (443, "the ingress")]))
    assert found.expected == "TCP port 80 free for the ingress"


def test_registries() -> None:
    assert rules.registries(MACHINE, []) == []
    silent = replace(MACHINE, registries={"go": "dial tcp: refused", "apt": "no route"})
    found = rules.registries(silent, ["kubernetes", "base"])
    assert [finding.found for finding in found] == ["no route", "dial tcp: refused"]
    assert "GOPROXY" in found[1].remedy
    assert "kubernetes, base have to be built" in found[1].expected
