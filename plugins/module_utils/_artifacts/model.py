# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an artifact is: the declared catalogue as frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Artifact", "Base", "Go", "Image", "Spec", "parse_catalogue"]


@dataclass(frozen=True)
class Go:
    """Commands compiled from the ``tool`` lines of a go.mod.

    ``module``, if given, names the line of go.mod with the version of the binaries; ``ldflags`` may hold
    ``{version}``, ``{number}`` (without the v), ``{major}`` and ``{minor}``. ``rename`` maps a file name that
    Go chose to the one wanted. ``check`` is a command whose output must hold the version number.
    """

    source: str
    module: str
    binaries: tuple[str, ...]
    ldflags: tuple[str, ...] = ()
    rename: tuple[tuple[str, str], ...] = ()
    check: tuple[str, ...] = ()


@dataclass(frozen=True)
class Base:
    """A root file system of a Debian suite, by mmdebstrap with further ``options``.

    A new ``refresh`` value asks for today's packages.
    """

    suite: str
    packages: tuple[str, ...]
    variant: str = "minbase"
    options: tuple[str, ...] = ()
    refresh: str = ""


@dataclass(frozen=True)
class Image:
    """A container image from a Containerfile.

    ``base`` names the artifact that the Containerfile gets as build argument BASE; ``binaries`` are
    ``artifact/file`` pairs that stand in ``bin/`` of the context. ``tag`` may hold ``{version}``, that of
    ``version_of``; without a tag the image is tagged by its key.
    """

    source: str
    base: str = ""
    binaries: tuple[str, ...] = ()
    tag: str = ""
    version_of: str = ""
    refresh: str = ""
    arguments: tuple[tuple[str, str], ...] = ()


Spec = Go | Base | Image  # pylint: disable=unsupported-binary-operation


@dataclass(frozen=True)
class Artifact:
    """One entry of the catalogue."""

    name: str
    spec: Spec

    @property
    def kind(self) -> str:
        return type(self.spec).__name__.lower()

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the artifacts this one is built from, in the order they are declared."""
        if not isinstance(self.spec, Image):
            return ()
        names = [self.spec.base, *(b.partition("/")[0] for b in self.spec.binaries)]
        return tuple(dict.fromkeys(n for n in names if n))


@dataclass(frozen=True)
class _Fields:
    """Reads the fields of one catalogue entry and remembers which were asked for."""

    name: str
    values: Mapping[str, Any]
    seen: set[str] = field(default_factory=set)

    def text(self, key: str, default: str | None = None) -> str:
        self.seen.add(key)
        value = self.values.get(key)
        if value is None:
            if default is None:
                raise CeleryOpsError(
                    f"artifact {self.name}: `{key}` is missing",
                    expected=f"an entry of kind {self.values.get('kind')} with `{key}`",
                    found=", ".join(sorted(self.values)),
                    remedy=f"add `{key}` to the entry in the catalogue",
                )
            return default
        return str(value)

    def texts(self, key: str) -> tuple[str, ...]:
        self.seen.add(key)
        value = self.values.get(key) or ()
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise CeleryOpsError(
                f"artifact {self.name}: `{key}` is not a list",
                expected="a list of strings",
                found=type(value).__name__,
                remedy=f"write `{key}` as a YAML list",
            )
        return tuple(str(v) for v in value)

    def pairs(self, key: str) -> tuple[tuple[str, str], ...]:
        self.seen.add(key)
        value = self.values.get(key) or {}
        if not isinstance(value, Mapping):
            raise CeleryOpsError(
                f"artifact {self.name}: `{key}` is not a dictionary",
                expected="a dictionary of strings",
                found=type(value).__name__,
                remedy=f"write `{key}` as a YAML mapping",
            )
        return tuple(sorted((str(k), str(v)) for k, v in value.items()))


def _spec(f: _Fields) -> Spec:
    kind = f.text("kind")
    if kind == "go":
        return Go(
            source=f.text("source"),
            module=f.text("module", ""),
            binaries=f.texts("binaries"),
            ldflags=f.texts("ldflags"),
            rename=f.pairs("rename"),
            check=f.texts("check"),
        )
    if kind == "base":
        return Base(
            suite=f.text("suite"),
            packages=tuple(sorted(f.texts("packages"))),
            variant=f.text("variant", "minbase"),
            options=f.texts("options"),
            refresh=f.text("refresh", ""),
        )
    if kind == "image":
        return Image(
            source=f.text("source"),
            base=f.text("base", ""),
            binaries=f.texts("binaries"),
            tag=f.text("tag", ""),
            version_of=f.text("version_of", ""),
            refresh=f.text("refresh", ""),
            arguments=f.pairs("arguments"),
        )
    raise CeleryOpsError(
        f"artifact {f.name}: unknown kind",
        expected="go, base or image",
        found=kind,
        remedy="correct `kind` in the catalogue",
    )


def parse_catalogue(entries: Sequence[Mapping[str, Any]]) -> dict[str, Artifact]:
    """The catalogue by name. Raises CeleryOpsError for a bad field or a repeated name."""
    catalogue: dict[str, Artifact] = {}
    for entry in entries:
        f = _Fields(str(entry.get("name", "?")), entry)
        name = f.text("name")
        spec = _spec(f)
        unknown = sorted(set(entry) - f.seen)
        if unknown:
            raise CeleryOpsError(
                f"artifact {name}: unknown field",
                expected=", ".join(sorted(f.seen)),
                found=", ".join(unknown),
                remedy="correct the entry in the catalogue",
            )
        if name in catalogue:
            raise CeleryOpsError(
                f"artifact {name} is declared twice",
                expected="every name once",
                found=name,
                remedy="rename or remove one of the two entries",
            )
        catalogue[name] = Artifact(name, spec)
    return catalogue
