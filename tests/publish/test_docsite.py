# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation and the changelog, by the tools that publish them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.modules import ROOT
from helpers.published import FOLDER, Installed

TOOLS = ROOT / "build/venv/publish/bin"
# Labels of Ansible's own documentation, which is not at hand.
ELSEWHERE = re.compile(
    r"undefined label: '(common_return_values|action_plugins|ansible_configuration_settings"
    r"|ansible_collections\.ansible\.builtin\..*)'"
)


def tool(name: str, *words: str, folder: Path, collections: Path | None = None) -> str:
    env = {"PATH": f"{TOOLS}:/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    if collections:
        env["ANSIBLE_COLLECTIONS_PATH"] = str(collections)
    done = subprocess.run([str(TOOLS / name), *words], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture
def copy(source: Path, tmp_path: Path) -> Path:
    """The source for tools that write into it: their logs, and what a release changes."""
    return Path(shutil.copytree(source, tmp_path / FOLDER, symlinks=True))


def test_documentation_of_plugins_roles_and_guides_has_no_fault(copy: Path) -> None:
    said = tool(
        "antsibull-docs",
        *("lint-collection-docs", "--plugin-docs", "--validate-collection-refs", "self", "--skip-rstcheck", "."),
        folder=copy,
        collections=copy.parents[2],
    )
    assert said.strip() == ""


def test_fragments_of_the_changelog_are_right_and_make_a_release(copy: Path) -> None:
    assert tool("antsibull-changelog", "lint", folder=copy).strip() == ""
    version = yaml.safe_load((copy / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    tool("antsibull-changelog", "release", "--version", version, "--date", "2026-01-01", folder=copy)
    assert f"v{version}" in (copy / "CHANGELOG.rst").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def pages(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docsite")
    done = subprocess.run(
        [str(ROOT / "tools/docsite"), str(folder), str(installed.collections)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def test_the_pages_refer_to_nothing_that_is_not_there(pages: Path) -> None:
    said = (pages / "warnings.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in said if not ELSEWHERE.search(line)] == []


def test_there_is_a_page_for_everything(pages: Path) -> None:
    html = {path.name for path in (pages / "build/html").glob("*.html")}
    modules = {f"{path.stem}_module.html" for path in (ROOT / "plugins/modules").glob("*.py")}
    roles = {f"{path.parents[1].name}_role.html" for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")}
    assert (modules | roles | {"index.html"}) - html == set()
    guides = {f"{path.stem}.html" for path in (ROOT / "docs/docsite/rst").glob("*.rst")}
    assert guides - {path.name for path in (pages / "build/html/docsite").glob("*.html")} == set()
