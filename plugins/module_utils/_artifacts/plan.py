# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which artifacts are needed, in which order, under which key, and which of them have to be built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.keys import artifact_key
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.model import Artifact, Image
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Plan", "Planned", "make_plan", "ordered", "reference", "to_build"]


@dataclass(frozen=True)
class Planned:
    """An artifact whose key is known. ``reference`` is set for what becomes an image."""

    artifact: Artifact
    key: str
    version: str
    reference: str
    cached: bool

    @property
    def name(self) -> str:
        return self.artifact.name


@dataclass(frozen=True)
class Plan:
    """``steps`` hold each artifact after those it needs; ``build`` names what is missing and needed."""

    steps: tuple[Planned, ...]
    build: tuple[str, ...]

    def __getitem__(self, name: str) -> Planned:
        return next(s for s in self.steps if s.name == name)


def ordered(catalogue: Mapping[str, Artifact], names: Iterable[str]) -> tuple[Artifact, ...]:
    """``names`` and all they need, each after its needs. Raises on an unknown name and on a cycle."""
    result: dict[str, Artifact] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise CeleryOpsError(
                "artifacts need each other in a circle",
                expected="an order in which each can be built",
                found=" -> ".join((*path, name)),
                remedy="remove one of these `base` or `binaries` entries",
            )
        if name not in catalogue:
            raise CeleryOpsError(
                f"unknown artifact {name}",
                expected=", ".join(sorted(catalogue)),
                found=f"{name}, needed by {path[-1]}" if path else name,
                remedy="correct the name, or declare it in the catalogue",
            )
        if name in result:
            return
        for need in catalogue[name].needs:
            visit(need, (*path, name))
        result[name] = catalogue[name]

    for name in names:
        visit(name, ())
    return tuple(result.values())


def reference(artifact: Artifact, *, repository: str, key: str, version: str) -> str:
    """``repository/name:tag`` of what becomes an image, else an empty string."""
    if artifact.kind == "go":
        return ""
    tag = artifact.spec.tag if isinstance(artifact.spec, Image) else ""
    return f"{repository}/{artifact.name}:{tag.format(version=version) if tag else key[:12]}"


def to_build(steps: Iterable[Planned], names: Iterable[str]) -> tuple[str, ...]:
    """What is missing among ``names``, and what is missing of that which those are built from."""
    by_name = {s.name: s for s in steps}
    wanted: set[str] = set()

    def visit(name: str) -> None:
        if by_name[name].cached or name in wanted:
            return
        wanted.add(name)
        for need in by_name[name].artifact.needs:
            visit(need)

    for name in names:
        visit(name)
    return tuple(name for name in by_name if name in wanted)


def make_plan(
    catalogue: Mapping[str, Artifact],
    names: Iterable[str],
    *,
    repository: str,
    digests: Callable[[Artifact], Mapping[str, str]],
    version: Callable[[Artifact], str],
    settings: Callable[[Artifact], Mapping[str, str]],
    cached: Callable[[str, str], bool],
) -> Plan:
    """The plan for ``names``; what has to be read or looked up comes through the four functions."""
    names = tuple(names)
    keys: dict[str, str] = {}
    versions: dict[str, str] = {}
    steps: list[Planned] = []
    for artifact in ordered(catalogue, names):
        keys[artifact.name] = artifact_key(
            artifact, digests=digests(artifact), parents=keys, settings=settings(artifact)
        )
        source = artifact.spec.version_of if isinstance(artifact.spec, Image) else ""
        versions[artifact.name] = versions[source] if source in versions else version(artifact)
        steps.append(
            Planned(
                artifact,
                keys[artifact.name],
                versions[artifact.name],
                reference(
                    artifact,
                    repository=repository,
                    key=keys[artifact.name],
                    version=versions[artifact.name],
                ),
                cached(artifact.name, keys[artifact.name]),
            )
        )
    return Plan(tuple(steps), to_build(steps, names))
