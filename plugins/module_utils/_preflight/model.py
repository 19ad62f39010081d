# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check says, and what a machine was found to be. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["Container", "Finding", "Machine", "PodmanNetwork", "Route"]


@dataclass(frozen=True)
class Finding:
    """One thing that would make a run fail: what was looked at, expected and found, and what to do."""

    check: str
    expected: str
    found: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True)
class Route:
    """A route of the machine; `destination` is a prefix such as 10.1.0.0/16."""

    destination: str
    device: str


@dataclass(frozen=True)
class PodmanNetwork:
    name: str
    device: str
    subnets: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Machine:
    """Facts about one machine. None stands for what could not be read; a rule then says nothing about it.

    Memory and disk are in bytes; `disk_free` maps a path that was asked for to what is free where it will lie.
    `nat_rules` are lines of iptables-save; `sysctls` maps a name to its value and whether it can be written.
    """

    system: str = ""
    system_version: str = ""
    system_name: str = ""
    euid: int = 0
    can_become: bool = False
    user: str = "root"
    cpus: int | None = None
    memory: int | None = None
    disk_free: Mapping[str, int] = field(default_factory=dict)
    sysctls: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    networks: tuple[PodmanNetwork, ...] = ()
    containers: tuple[Container, ...] = ()
    bridge_nf: bool = False
    nat_rules: tuple[str, ...] = ()
    ports_taken: tuple[int, ...] = ()
    # registry → what its client said when it did not answer
    registries: Mapping[str, str] = field(default_factory=dict)
