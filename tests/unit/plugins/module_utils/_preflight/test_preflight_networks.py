# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ranges of addresses, and rules that would rewrite packets between pods."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Machine, PodmanNetwork, Route
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.networks import overlaps, rewriting_rules

OWN = PodmanNetwork("celeryops-local", "cni-podman1", ("10.89.60.0/24",), {"celeryops.platform": "local"})
FOREIGN = PodmanNetwork("theirs", "cni-podman2", ("10.89.61.0/24",), {})
MACHINE = Machine(
    networks=(OWN, FOREIGN),
    routes=(
        Route("10.89.60.0/24", "cni-podman1"),
        Route("10.89.61.0/24", "cni-podman2"),
        Route("192.168.0.0/16", "eth0"),
    ),
)


def found(machine: Machine, **subnets: str) -> list[str]:
    return [finding.found for finding in overlaps(machine, "local", list(subnets.items()))]


def test_free_ranges_and_our_own_network() -> None:
    assert found(MACHINE, nodes="10.89.60.0/24", pods="10.42.0.0/16", services="10.43.0.0/16") == []


def test_a_network_is_named_once_and_not_by_its_route_again() -> None:
    assert found(MACHINE, nodes="10.89.61.0/24") == ["podman network theirs (10.89.61.0/24)"]


def test_another_platforms_network_is_foreign() -> None:
    assert [finding.found for finding in overlaps(MACHINE, "second", [("nodes", "10.89.60.0/24")])] == [
        "podman network celeryops-local (10.89.60.0/24)"
    ]


@pytest.mark.parametrize("subnet", ["192.168.7.0/24", "192.0.0.0/8", "192.168.0.0/16"])
def test_routes(subnet: str) -> None:
    assert found(MACHINE, pods=subnet) == ["route 192.168.0.0/16 by eth0"]


def test_a_default_route_overlaps_nothing() -> None:
    assert found(Machine(routes=(Route("0.0.0.0/0", "eth0"),)), pods="10.42.0.0/16") == []


def test_ranges_that_overlap_each_other() -> None:
    (finding,) = overlaps(Machine(), "local", [("pods", "10.42.0.0/15"), ("services", "10.43.0.0/16")])
    assert finding.expected == "pods and services apart from each other"


@pytest.mark.parametrize("text", ["", "10.42.0.1/16", "10.42.0.0/33", "fd00::/64", "pods"])
def test_what_is_no_range(text: str) -> None:
    (finding,) = overlaps(Machine(), "local", [("kubeadm_pod_subnet", text)])
    assert "in kubeadm_pod_subnet" in finding.expected


REWRITING = [
    "-A POSTROUTING -s 10.42.0.0/16 -j MASQUERADE",
    "-A POSTROUTING -s 10.42.3.0/24 ! -d 10.42.0.0/16 -j SNAT --to-source 192.0.2.1",
    "-A POSTROUTING -s 10.0.0.0/8 ! -o docker0 -j MASQUERADE",
    "-A POSTROUTING ! -s 192.168.0.0/16 -j MASQUERADE",
    "-A POSTROUTING -s 10.42.0.0/16 -o cni-podman1 -j MASQUERADE",
    "-A POSTROUTING -j MASQUERADE",
]
HARMLESS = [
    "-A POSTROUTING -s 10.88.0.0/16 -j MASQUERADE",
    "-A POSTROUTING -s 10.42.0.0/16 -o eth0 -j MASQUERADE",
    "-A POSTROUTING -s 10.42.0.0/16 ! -o cni-podman1 -j MASQUERADE",
    "-A POSTROUTING ! -s 10.0.0.0/8 -j MASQUERADE",
    "-A POSTROUTING -o eth0 -j MASQUERADE",
    "-A KUBE-POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE --random-fully",
    "-A PREROUTING -s 10.42.0.0/16 -j DNAT --to-destination 1.2.3.4",
    ":POSTROUTING ACCEPT [0:0]",
    "*nat",
]


@pytest.mark.parametrize("rule", REWRITING)
def test_rules_that_rewrite_what_pods_send_each_other(rule: str) -> None:
    machine = replace(MACHINE, bridge_nf=True, nat_rules=("*nat", rule))
    (finding,) = rewriting_rules(machine, "local", "10.42.0.0/16")
    assert finding.found == rule


@pytest.mark.parametrize("rule", HARMLESS)
def test_rules_that_do_not(rule: str) -> None:
    assert rewriting_rules(replace(MACHINE, bridge_nf=True, nat_rules=(rule,)), "local", "10.42.0.0/16") == []


def test_without_bridge_nf_the_machine_does_not_see_them() -> None:
    assert rewriting_rules(replace(MACHINE, nat_rules=tuple(REWRITING)), "local", "10.42.0.0/16") == []
