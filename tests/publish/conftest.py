# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as it would be published: built from what git holds, and installed where nothing else is."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from helpers.modules import ROOT
from helpers.published import BIN, FOLDER, TARBALL, Installed, tracked


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would hold after a commit, where ansible-test wants a collection to be. Nobody's caches are in it."""
    folder = tmp_path_factory.mktemp("source") / FOLDER
    for name in tracked():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target, follow_symlinks=False)
    return folder


@pytest.fixture(scope="session")
def tarball(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tarball")
    build = [str(BIN / "ansible-galaxy"), "collection", "build", "--output-path", str(target), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    return target / TARBALL


@pytest.fixture(scope="session")
def members(tarball: Path) -> set[str]:
    """The files in it."""
    with tarfile.open(tarball) as archive:
        return {member.name for member in archive if not member.isdir()}


@pytest.fixture(scope="session")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = Installed(tmp_path_factory.mktemp("collections"), tmp_path_factory.mktemp("home"))
    place.run("ansible-galaxy", "collection", "install", "--offline", "-p", str(place.collections), str(tarball))
    return place
