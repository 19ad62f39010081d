# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as somebody else has it: installed, beside nothing of this checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from .modules import ROOT

__all__ = ["BIN", "FOLDER", "TARBALL", "Installed", "tracked"]

BIN = Path(sys.executable).parent
GALAXY = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
TARBALL = f"{GALAXY['namespace']}-{GALAXY['name']}-{GALAXY['version']}.tar.gz"
FOLDER = Path("ansible_collections", GALAXY["namespace"], GALAXY["name"])


@dataclass(frozen=True)
class Installed:
    """A folder of collections that holds this one only, and a home without any settings."""

    collections: Path
    home: Path

    @property
    def collection(self) -> Path:
        return self.collections / FOLDER

    def run(self, program: str, *words: str, env: Mapping[str, str] | None = None, folder: Path | None = None) -> str:
        """What a program of Ansible's prints, run where no file of the checkout is beside it; it must succeed."""
        done = subprocess.run(
            [str(BIN / program), *words],
            cwd=folder or self.home,
            capture_output=True,
            text=True,
            check=False,
            env={
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.home),
                "LC_ALL": "C.UTF-8",
                "ANSIBLE_COLLECTIONS_PATH": str(self.collections),
                "ANSIBLE_LOCALHOST_WARNING": "false",
                **(env or {}),
            },
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout


def tracked() -> list[str]:
    """The paths that git would hold after a commit of everything; links are among them, folders are not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return sorted({name for name in listed.split("\0") if name and os.path.lexists(ROOT / name)})
