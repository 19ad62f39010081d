# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine against what a run needs of it. Every rule gives findings; none changes anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import Finding, Machine
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.networks import LABEL

__all__ = ["disk", "kernel", "memory", "names", "ports", "privileges", "registries", "system"]

_GIB = 2**30
# What each client reads its endpoint from.
_SETTINGS = {
    "pip": "pip's index-url, proxy and cert settings (pip config list, PIP_*)",
    "go": "GOPROXY and the proxy variables (go env GOPROXY)",
    "apt": "/etc/apt/sources.list* and apt's proxy settings (apt-config dump)",
}


def privileges(machine: Machine, *, password: bool) -> list[Finding]:
    """Root, or a way to become root: sudo without a password, or a password that Ansible was given."""
    if machine.euid == 0 or machine.can_become or password:
        return []
    return [
        Finding(
            "privileges",
            "root, or sudo without a password, or Ansible's become password",
            f"user {machine.user}, whom sudo asks for a password",
            "Run as root, or add --ask-become-pass, or allow the user sudo (a line in /etc/sudoers.d).",
        )
    ]


def system(machine: Machine, supported: Mapping[str, Iterable[str]]) -> list[Finding]:
    """`supported` maps an ID of os-release to its versions."""
    if not supported or machine.system_version in supported.get(machine.system, ()):
        return []
    listed = ", ".join(f"{name} {' or '.join(versions)}" for name, versions in supported.items())
    return [
        Finding(
            "system",
            f"one of: {listed}",
            machine.system_name or "no /etc/os-release",
            "Use a machine with one of these systems; preflight_systems names one of your own that you trust.",
        )
    ]


def disk(machine: Machine, wanted: Iterable[tuple[str, int, str]]) -> list[Finding]:
    """`wanted` are (path, bytes, what for)."""
    return [
        Finding(
            "disk",
            f"{needed / _GIB:.1f} GiB free at {path} for {purpose}",
            f"{machine.disk_free[path] / _GIB:.1f} GiB",
            "Make room there, or move it: platform_cache_dir (XDG_CACHE_HOME), podman's storage in storage.conf.",
        )
        for path, needed, purpose in wanted
        if path in machine.disk_free and machine.disk_free[path] < needed
    ]


def memory(machine: Machine, needed: int, purpose: str) -> list[Finding]:
    if machine.memory is None or machine.memory >= needed:
        return []
    return [
        Finding(
            "memory",
            f"{needed / _GIB:.1f} GiB of memory for {purpose}",
            f"{machine.memory / _GIB:.1f} GiB",
            "Use a machine with more memory, or lower replicas, nodes or memory requests.",
        )
    ]


def kernel(machine: Machine, minimums: Mapping[str, int]) -> list[Finding]:
    """Settings that are too low and that a later role cannot raise."""
    return [
        Finding(
            "kernel",
            f"{name} of at least {minimum}",
            f"{machine.sysctls[name][0]}, and it cannot be changed from here",
            f"Raise it on the host: sysctl -w {name}={minimum}.",
        )
        for name, minimum in minimums.items()
        if name in machine.sysctls and machine.sysctls[name][0] < minimum and not machine.sysctls[name][1]
    ]


def names(machine: Machine, platform: str, containers: Iterable[str], networks: Iterable[str]) -> list[Finding]:
    """Names that the platform will use and that something else has."""
    wanted_containers, wanted_networks = set(containers), set(networks)
    taken = [
        ("container", thing.name, "podman rm")
        for thing in machine.containers
        if thing.name in wanted_containers and thing.labels.get(LABEL) != platform
    ]
    taken += [
        ("network", thing.name, "podman network rm")
        for thing in machine.networks
        if thing.name in wanted_networks and thing.labels.get(LABEL) != platform
    ]
    return [
        Finding(
            "name",
            f"the name {name} free for a {kind} of platform {platform}",
            f"a {kind} of that name which the platform did not make",
            f"Remove it ({command} {name}), or choose another platform_name.",
        )
        for kind, name, command in sorted(taken)
    ]


def ports(machine: Machine, wanted: Iterable[tuple[int, str]]) -> list[Finding]:
    return [
        Finding(
            "port",
            f"TCP port {port} free for {purpose}",
            "something that listens on it",
            f"Stop it (ss -ltnp 'sport = :{port}' names it), or choose another port.",
        )
        for port, purpose in wanted
        if port in machine.ports_taken
    ]


def registries(machine: Machine, building: Iterable[str]) -> list[Finding]:
    """Registries that do not answer although something has to be built from them."""
    things = ", ".join(building)
    return [
        Finding(
            "registry",
            f"an answer from {name}'s registry: {things} have to be built",
            said,
            f"Check the network, and {_SETTINGS[name]}. What is built already is kept.",
        )
        for name, said in sorted(machine.registries.items())
    ]
