# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which provider brings the cluster up, and why. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["PROVIDERS", "Choice", "Seen", "choose"]

PROVIDERS = ("k3s", "k3d", "kubeadm", "existing")


@dataclass(frozen=True)
class Seen:
    """What the choice goes by.

    `groups` maps the providers whose nodes are inventory hosts to the group of those hosts, `hosts` to their number.
    `credentials` says in words where a cluster's credentials were named ("platform_kubeconfig is ..."), and is empty
    when nowhere.
    """

    groups: dict[str, str]
    hosts: dict[str, int]
    credentials: str = ""


@dataclass(frozen=True)
class Choice:
    """A provider, and the reason in half a sentence."""

    provider: str
    why: str


def choose(wanted: str, seen: Seen, docker: Callable[[], str]) -> Choice:
    """The provider for `wanted`, one of PROVIDERS or "auto".

    Nodes in the inventory outweigh credentials, credentials outweigh k3d: the more was said, the earlier it counts.
    `docker` is asked only when all else leaves it open; it returns why k3d cannot be used here, or "".
    Raises CeleryOpsError when the inventory does not fit what is wanted, or says nothing, or two things.
    """
    populated = [provider for provider, number in seen.hosts.items() if number]
    if wanted != "auto":
        return _given(wanted, seen, populated)
    if len(populated) > 1:
        raise CeleryOpsError(
            "The inventory names the nodes of more than one cluster",
            expected="hosts in one of the groups " + ", ".join(seen.groups.values()),
            found=", ".join(_count(seen, provider) for provider in populated),
            remedy="set cluster_provider to the one that is meant: " + ", ".join(populated),
        )
    if populated:
        return Choice(populated[0], f"the inventory has {_count(seen, populated[0])}")
    nowhere = f"the inventory has no hosts in {' or '.join(seen.groups.values())}"
    if seen.credentials:
        return Choice("existing", f"{nowhere}, and {seen.credentials}")
    if not (hindrance := docker()):
        return Choice("k3d", f"{nowhere}, nothing names a cluster's credentials, and k3d and Docker answer here")
    raise CeleryOpsError(
        "Nothing says which cluster to use",
        expected="nodes in the inventory, credentials of a cluster that is there, or k3d with Docker",
        found=f"{nowhere}, platform_kubeconfig, platform_context and KUBECONFIG are empty, and {hindrance}",
        remedy="choose an inventory (-i inventories/local makes a cluster on this machine), or set platform_kubeconfig",
    )


def _given(wanted: str, seen: Seen, populated: list[str]) -> Choice:
    if wanted in seen.groups and wanted not in populated:
        raise CeleryOpsError(
            f"Provider {wanted} has no nodes",
            expected=f"hosts in the group {seen.groups[wanted]}",
            found=", ".join(_count(seen, provider) for provider in populated) or "none",
            remedy=f"add the hosts to the inventory, or choose another cluster_provider than {wanted}",
        )
    return Choice(wanted, "cluster_provider says so")


def _count(seen: Seen, provider: str) -> str:
    number = seen.hosts[provider]
    return f"{number} host{'s' if number > 1 else ''} in {seen.groups[provider]}"
