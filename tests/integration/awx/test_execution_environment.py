# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The definition of the execution environment, as ansible-builder reads it. Nothing is built here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from helpers.modules import ROOT

BIN = Path(sys.executable).parent
LIBRARY = re.compile(r"^([A-Za-z0-9_.-]+)(.*)$")


def run(*words: str, folder: Path) -> str:
    env = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def libraries(text: str) -> dict[str, str]:
    """Name to bounds, without comments, markers and hashes."""
    lines = [line.partition("#")[0].partition(";")[0].partition("\\")[0].strip() for line in text.splitlines()]
    found = [LIBRARY.match(line) for line in lines if line and not line.startswith(("-", "--hash"))]
    return {one[1].lower(): one[2].strip() for one in found if one}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ansible-builder makes of the definition, with the collection built as `make ee` does."""
    folder = tmp_path_factory.mktemp("ee")
    target = folder / "build/ee"
    run("ansible-galaxy", "collection", "build", "--output-path", str(target), str(ROOT), folder=folder)
    (tarball,) = target.glob("celeryops-platform-*.tar.gz")
    tarball.rename(target / "celeryops-platform.tar.gz")
    definition = folder / "execution-environment.yml"
    definition.write_text((ROOT / definition.name).read_text(encoding="utf-8"), encoding="utf-8")
    run("ansible-builder", "create", "--file", str(definition), "--context", str(folder / "context"), folder=folder)
    return folder / "context"


def test_the_context_has_the_collection_and_installs_it(context: Path) -> None:
    required = yaml.safe_load((context / "_build/requirements.yml").read_text(encoding="utf-8"))
    (collection,) = required["collections"]
    with tarfile.open(context / "_build" / collection["name"]) as archive:
        assert {"playbooks/site.yml", "meta/execution-environment.yml", "MANIFEST.json"} <= set(archive.getnames())
    text = (context / "Containerfile").read_text(encoding="utf-8")
    assert "ansible-galaxy collection install" in text
    assert re.search(r'ANSIBLE_INSTALL_REFS="ansible-core>=2\.19\.14,<2\.20 ansible-runner', text)


def test_what_the_collection_asks_for_is_what_its_modules_import(context: Path, tmp_path: Path) -> None:
    place = tmp_path / "ansible_collections/celeryops/platform"
    place.mkdir(parents=True)
    with tarfile.open(context / "_build/collections/celeryops-platform.tar.gz") as archive:
        archive.extractall(place, filter="data")
    run(
        *("ansible-builder", "introspect", str(tmp_path)),
        *("--write-pip", str(tmp_path / "pip.txt"), "--write-bindep", str(tmp_path / "bindep.txt")),
        folder=tmp_path,
    )
    asked = libraries((tmp_path / "pip.txt").read_text(encoding="utf-8"))
    controller = libraries((ROOT / "requirements.in").read_text(encoding="utf-8"))
    # PyYAML comes with ansible-core, and ansible-builder leaves it to that.
    assert asked == {name: bounds for name, bounds in controller.items() if name not in ("ansible-core", "pyyaml")}
    assert "openssh-client [platform:dpkg]" in (tmp_path / "bindep.txt").read_text(encoding="utf-8")


def test_the_image_from_debian_and_pypi_holds_the_same_libraries(context: Path) -> None:
    files = ROOT / "roles/artifacts/files/images/ee"
    wanted = libraries((files / "requirements.in").read_text(encoding="utf-8"))
    controller = libraries((ROOT / "requirements.in").read_text(encoding="utf-8"))
    assert {name: wanted.get(name) for name in controller if name != "ansible-core"} == {
        name: bounds for name, bounds in controller.items() if name != "ansible-core"
    }
    pinned = libraries((files / "requirements.txt").read_text(encoding="utf-8"))
    assert set(wanted) <= set(pinned)
    assert all(version.startswith("==") for version in pinned.values())
    text = (context / "Containerfile").read_text(encoding="utf-8")
    assert wanted["ansible-core"] in text
