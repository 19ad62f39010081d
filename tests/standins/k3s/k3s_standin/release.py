# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a release of the stand-in consists of: its version, the programs behind it and the images it pulls."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

__all__ = ["Release", "release"]


@dataclass(frozen=True)
class Release:
    """Written by pack.py. Programs and archives are paths that the node sees: nothing is copied into the asset."""

    version: str
    programs: Mapping[str, str]
    # name → {"reference", "archive"}; k3s would pull these from its registry where no bundle brought them.
    images: Mapping[str, Mapping[str, str]]

    def program(self, name: str) -> str:
        if name not in self.programs:
            raise FileNotFoundError(f"this release of the stand-in was packed without {name}")
        return self.programs[name]

    def stage(self, data: Path) -> Path:
        """Link the programs below ``data/<hash>/bin``, where k3s unpacks its own; returns that folder."""
        digest = hashlib.sha256(json.dumps(dict(self.programs), sort_keys=True).encode()).hexdigest()
        folder = data / "data" / digest / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in self.programs.items():
            link = folder / name
            if not link.is_symlink():
                link.symlink_to(target)
        current = data / "data" / "current"
        if not current.is_symlink() or current.readlink() != Path(digest):
            current.unlink(missing_ok=True)
            current.symlink_to(digest)
        return folder


def release() -> Release:
    """The release that this program was packed as."""
    found = json.loads((resources.files(__package__) / "release.json").read_text())
    return Release(found["version"], found["programs"], found["images"])
