# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps from a k3d cluster that runs to the one that is declared. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.model import (
    Declared,
    Observed,
    Port,
    Scoped,
    parse_port,
)

__all__ = ["Action", "Drift", "drift", "plan_absent", "plan_present", "validate"]

# k3d's own limits, from its pkg/client/clusterName.go and pkg/util/filter.go (5.8 and 5.9).
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_NAME = 32
_FILTER = re.compile(r"(all|loadbalancer|(servers?|agents?):(\d+(,\d+)*|\d*-\d*|\*))(:(proxy|direct))?")


@dataclass(frozen=True)
class Action:
    """One step. `kind` is what it is about (cluster, agent, server, port, registry), `name` which one.

    `args` are the arguments of k3s that a node gets which cannot take them over from another one.
    """

    verb: str
    kind: str
    name: str
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"


@dataclass(frozen=True)
class Drift:
    """A setting that would need another cluster."""

    setting: str
    current: str
    wanted: str


def validate(declared: Declared) -> None:
    """Raises CeleryOpsError for what k3d would refuse, or take in another sense, before anything is changed."""
    problems = []
    if not _NAME.fullmatch(declared.name) or len(declared.name) > _LONGEST_NAME:
        problems.append(f"name '{declared.name}' is no host name of at most {_LONGEST_NAME} characters")
    if declared.servers < 1:
        problems.append(f"{declared.servers} servers, where one is the least")
    if declared.agents < 0:
        problems.append(f"{declared.agents} agents")
    for what, settings in (("port", declared.ports), ("volume", declared.volumes), ("argument", declared.args)):
        for one in settings:
            problems += [f"node filter '{f}' of {what} '{one.value}'" for f in one.filters if not _FILTER.fullmatch(f)]
    for one in (*declared.args, *declared.volumes):
        # k3d gives the load balancer, which is no k3s, what is for `all`.
        problems += [f"node filter 'all' of '{one.value}'" for f in one.filters if f == "all"]
    for port in declared.ports:
        parse_port(port.value)
    if problems:
        raise CeleryOpsError(
            "The declaration cannot become a k3d cluster",
            expected="a short host name, a server or more, and node filters such as server:*, agent:0,2, loadbalancer",
            found="; ".join(problems),
            remedy="correct these options",
        )


def drift(declared: Declared, found: Observed) -> list[Drift]:
    """What differs and cannot be changed in place."""
    differences = []
    if found.spec is None:
        differences.append(Drift("declaration", "made by other means", "made from these options"))
    else:
        for setting, wanted in declared.spec.items():
            if (current := found.spec.get(setting)) != wanted:
                differences.append(Drift(setting, _text(current), _text(wanted)))
    for role in ("server", "agent"):
        differences += _count(declared, found, role)
    images = sorted({node.image for node in (*found.of("server"), *found.of("agent")) if node.image})
    if declared.image and {_short(image) for image in images} - {_short(declared.image)}:
        differences.append(Drift("image", ", ".join(images), declared.image))
    if declared.registry and found.spec is not None and declared.registry.name not in found.registries:
        differences.append(Drift("registry", "gone", declared.registry.name))
    missing, surplus = _ports(declared, found)
    balanced = bool(found.of("loadbalancer"))
    fixed = [port.value for port in missing if not balanced or any(f.endswith(":direct") for f in port.filters)]
    if surplus or fixed:
        present = sorted({str(port) for node in found.nodes for port in node.ports})
        differences.append(Drift("ports", _text(present), _text([port.value for port in declared.ports])))
    return differences


def plan_present(declared: Declared, found: Observed | None, *, recreate: bool) -> list[Action]:
    """Steps in the order in which they must happen; none where nothing is to be done.

    Raises CeleryOpsError with the differences where they need another cluster and `recreate` is false.
    """
    validate(declared)
    create = Action("create", "cluster", declared.name)
    if found is None:
        return [create]
    differences = drift(declared, found)
    if differences and recreate:
        return [Action("delete", "cluster", declared.name), create]
    if differences:
        raise CeleryOpsError(
            f"k3d cluster {declared.name} differs from its declaration in what cannot be changed in place",
            expected="; ".join(f"{one.setting}: {one.wanted}" for one in differences),
            found="; ".join(f"{one.setting}: {one.current}" for one in differences),
            remedy="undo the change, or make the cluster anew, with the loss of all it holds: -e k3d_recreate=true",
            drift=[vars(one) for one in differences],
        )
    return [*_starts(declared, found), *_additions(declared, found)]


def plan_absent(name: str, found: Observed | None) -> list[Action]:
    return [] if found is None else [Action("delete", "cluster", name)]


def _starts(declared: Declared, found: Observed) -> list[Action]:
    steps = []
    if declared.registry and not found.registries.get(declared.registry.name, True):
        steps.append(Action("start", "registry", declared.registry.name))
    if any(not node.running for node in found.nodes if node.role != "registry"):
        steps.append(Action("start", "cluster", declared.name))
    return steps


def _additions(declared: Declared, found: Observed) -> list[Action]:
    steps = []
    taken = {node.name for node in found.nodes}
    for role, wanted in (("server", declared.servers), ("agent", declared.agents)):
        there = found.of(role)
        # A node takes over the arguments of one of its role. Where there is none it is given them.
        args = () if there else tuple(one.value for one in declared.args if one.covers(role, 0))
        numbers = (
            number for number in range(wanted + len(taken)) if f"k3d-{declared.name}-{role}-{number}" not in taken
        )
        free = (n for n in numbers if f"k3d-{declared.name}-{role}-{n}-0" not in taken)
        for _missing in range(wanted - len(there)):
            steps.append(Action("add", role, f"{declared.name}-{role}-{next(free)}", args))
    missing, _surplus = _ports(declared, found)
    return [*steps, *(Action("add", "port", f"{port.value}@{';'.join(port.filters)}") for port in missing)]


def _count(declared: Declared, found: Observed, role: str) -> list[Drift]:
    wanted, there = (declared.servers if role == "server" else declared.agents), found.of(role)
    if wanted == len(there):
        return []
    names = ", ".join(node.name for node in there) or "none"
    if wanted < len(there):
        # The volumes of a node go with it; which node that may be is not for a program to choose.
        return [Drift(f"{role}s", f"{len(there)} ({names})", f"{wanted}: remove nodes with 'k3d node delete NAME'")]
    if role == "server" and not any(node.init for node in there):
        return [Drift("servers", f"{len(there)} with a database that no other can join", str(wanted))]
    unlike = [
        one.value
        for number in range(len(there), wanted)
        for one in (*declared.volumes, *declared.args)
        if one.covers(role, number) != _inherited(one, role, bool(there), one in declared.args)
    ]
    if unlike:
        return [Drift(f"{role}s", str(len(there)), f"{wanted}, not all with {_text(sorted(set(unlike)))}")]
    return []


def _inherited(one: Scoped, role: str, from_same_role: bool, is_argument: bool) -> bool:
    """Whether k3d gives a node that is added this setting: it copies the first node of the role, or of the servers."""
    if from_same_role or is_argument:
        return one.covers(role, 0)
    return one.covers("server", 0)


def _ports(declared: Declared, found: Observed) -> tuple[list[Scoped], list[Port]]:
    """Declared ports that are not published, and published ones that are not declared."""
    published = {port for node in found.nodes for port in node.ports}
    missing, matched = [], set()
    for one in declared.ports:
        matches = [_matching(port, published) for port in parse_port(one.value)]
        matched |= {match for match in matches if match}
        if not all(matches):
            missing.append(one)
    return missing, sorted(published - matched)


def _matching(wanted: Port, published: Iterable[Port]) -> Port | None:
    if wanted.host:
        return wanted if wanted in set(published) else None
    alike = (
        p for p in published if (p.address, p.inner, p.protocol) == (wanted.address, wanted.inner, wanted.protocol)
    )
    return next(alike, None)


def _short(image: str) -> str:
    return image.removeprefix("docker.io/").removeprefix("library/")


def _text(value: object) -> str:
    return ", ".join(str(one) for one in value) or "none" if isinstance(value, list) else str(value or "none")
