# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which provider is chosen from what, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.choice import PROVIDERS, Choice, Seen, choose
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

GROUPS = {"k3s": "k3s_server", "kubeadm": "k8s_cluster"}
NAMED = "platform_kubeconfig is /etc/kubeconfig"


def seen(credentials: str = "", **hosts: int) -> Seen:
    return Seen(GROUPS, {"k3s": 0, "kubeadm": 0, **hosts}, credentials)


def docker_answers() -> str:
    return ""


def docker_is_not_asked() -> str:
    raise AssertionError("asked for Docker although the choice was clear")


@pytest.mark.parametrize(
    ("found", "provider", "why"),
    [
        (seen(k3s=3), "k3s", "the inventory has 3 hosts in k3s_server"),
        (seen(kubeadm=1), "kubeadm", "the inventory has 1 host in k8s_cluster"),
        (seen(NAMED, kubeadm=3), "kubeadm", "the inventory has 3 hosts in k8s_cluster"),
        (seen(NAMED), "existing", f"the inventory has no hosts in k3s_server or k8s_cluster, and {NAMED}"),
    ],
)
def test_auto_goes_by_nodes_then_by_credentials(found: Seen, provider: str, why: str) -> None:
    assert choose("auto", found, docker_is_not_asked) == Choice(provider, why)


def test_auto_takes_k3d_when_nothing_else_is_said() -> None:
    choice = choose("auto", seen(), docker_answers)
    assert choice.provider == "k3d"
    assert "k3d and Docker answer here" in choice.why


def test_auto_says_all_it_looked_for_when_it_finds_nothing() -> None:
    with pytest.raises(CeleryOpsError) as caught:
        choose("auto", seen(), lambda: "k3d is not installed here")
    assert "k3s_server or k8s_cluster" in str(caught.value.found)
    assert "k3d is not installed here" in str(caught.value.found)
    assert "platform_kubeconfig" in str(caught.value.remedy)


def test_auto_refuses_two_clusters_in_one_inventory() -> None:
    with pytest.raises(CeleryOpsError) as caught:
        choose("auto", seen(k3s=1, kubeadm=3), docker_is_not_asked)
    assert caught.value.found == "1 host in k3s_server, 3 hosts in k8s_cluster"
    assert "cluster_provider" in str(caught.value.remedy)


@pytest.mark.parametrize("wanted", PROVIDERS)
def test_what_is_named_is_taken(wanted: str) -> None:
    everything = seen(NAMED, k3s=1, kubeadm=3)
    assert choose(wanted, everything, docker_is_not_asked) == Choice(wanted, "cluster_provider says so")


@pytest.mark.parametrize(("wanted", "hosts"), [("k3s", {"kubeadm": 3}), ("kubeadm", {"k3s": 1}), ("k3s", {})])
def test_a_provider_without_its_nodes_is_refused(wanted: str, hosts: dict[str, Any]) -> None:
    with pytest.raises(CeleryOpsError) as caught:
        choose(wanted, seen(**hosts), docker_is_not_asked)
    assert GROUPS[wanted] in str(caught.value.expected)
