# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of k3s: what a name means, and which way leads from one to another. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Version", "check_upgrade", "parse"]

_FORM = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)")
_EXAMPLE = "a version such as v1.33.4+k3s1"


@dataclass(frozen=True, order=True)
class Version:
    """A release. A release candidate comes before its release."""

    major: int
    minor: int
    patch: int
    candidate: float
    build: int

    def __str__(self) -> str:
        candidate = "" if self.candidate == float("inf") else f"-rc{self.candidate:.0f}"
        return f"v{self.major}.{self.minor}.{self.patch}{candidate}+k3s{self.build}"


def parse(text: str) -> Version:
    """The version that a release is named by; anything else, such as a channel's name, is an error."""
    found = _FORM.fullmatch(text)
    if found is None:
        missing = "the leading v" if _FORM.fullmatch(f"v{text}") else "+k3s1 at its end"
        bare = re.fullmatch(r"v?\d+\.\d+\.\d+", text) is not None
        remedy = f"it lacks {missing}" if bare or missing.startswith("the") else "channels such as stable move; pin one"
        raise CeleryOpsError(
            "This is no version of a k3s release",
            expected=_EXAMPLE,
            found=repr(text),
            remedy=f"{remedy}. The names are those of github.com/k3s-io/k3s/releases",
        )
    major, minor, patch, candidate, build = found.groups()
    return Version(int(major), int(minor), int(patch), float(candidate or "inf"), int(build))


def check_upgrade(running: Mapping[str, str], wanted: str) -> None:
    """Refuses to go down, or to skip a minor version. ``running`` is host to version, empty where there is none."""
    target = parse(wanted)
    for host, text in sorted(running.items()):
        if not text:
            continue
        version = parse(text)
        if version > target:
            raise CeleryOpsError(
                f"{host} runs a newer k3s than the inventory asks for",
                expected=f"{text} or newer",
                found=f"k3s_version {wanted}",
                remedy="Kubernetes cannot go down. Correct k3s_version, or restore a snapshot of the older version",
            )
        if (target.major, target.minor) not in ((version.major, version.minor), (version.major, version.minor + 1)):
            raise CeleryOpsError(
                f"From what {host} runs to k3s_version is more than one minor version",
                expected=f"v{version.major}.{version.minor}.x or v{version.major}.{version.minor + 1}.x",
                found=f"{text} on {host}, k3s_version {wanted}",
                remedy="upgrade one minor version at a time: set k3s_version to the latest patch of the next one first",
            )
