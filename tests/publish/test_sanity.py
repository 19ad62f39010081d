# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-test's sanity tests of what is published, by the ansible-core and the Python that run this test."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from ansible.release import __version__
from helpers.modules import ROOT
from helpers.published import Installed

IGNORES = sorted((ROOT / "tests/sanity").glob("ignore-*.txt"))
STANDIN = ROOT / "tests/standins/ansible_test/get_pip.py"
# Every version that one of the supported ansible-cores asks for; see get_venv_packages in ansible-test.
PIPS = ("24_2", "25_1_1", "25_2")


def pip_settings() -> dict[str, str]:
    """How this user's pip reaches PyPI, for one that has another home."""
    own = Path("~/.config/pip/pip.conf").expanduser()
    named = {"PIP_CONFIG_FILE": str(own)} if own.exists() else {}
    return named | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


@pytest.fixture(scope="session")
def home() -> Path:
    """A home for ansible-test, which keeps its environments there: they outlast the test."""
    folder = ROOT / "build/ansible-test"
    cache = folder / ".ansible/test/cache"
    cache.mkdir(parents=True, exist_ok=True)
    for version in PIPS:
        shutil.copy(STANDIN, cache / f"get_pip_{version}.py")
    return folder


def test_sanity(installed: Installed, home: Path) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    env = {"HOME": str(home), **pip_settings()}
    said = installed.run(
        "ansible-test", "sanity", "--python", version, "--color", "no", env=env, folder=installed.collection
    )
    done = set(re.findall(r'^Running sanity test "([^"]+)"', said, re.MULTILINE))
    assert {"ansible-doc", "compile", "import", "pylint", "validate-modules", "yamllint"} <= done, said[-4000:]


def test_there_are_ignores_for_this_ansible_core() -> None:
    assert f"ignore-{'.'.join(__version__.split('.')[:2])}.txt" in {path.name for path in IGNORES}


@pytest.mark.parametrize("path", IGNORES, ids=lambda path: path.name)
def test_every_ignore_names_a_file_and_has_its_reason(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines == sorted(lines)
    for line in lines:
        entry, _mark, reason = line.partition(" # ")
        name, _space, _test = entry.partition(" ")
        assert (ROOT / name).is_file(), line
        assert len(reason.split()) >= 3, f"why? {line}"
