# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the built collection holds: all that it needs, and nothing else."""

from __future__ import annotations

from pathlib import Path

from helpers.published import tracked

# What belongs in it, by the first part of a path; of a name that is no folder here, exactly that file.
FOLDERS = {"apps", "awx", "changelogs", "docs", "examples", "inventories", "meta", "playbooks", "plugins", "roles"}
FILES = {"FILES.json", "LICENSE", "MANIFEST.json", "README.md", "tests/config.yml"}
SANITY = "tests/sanity/"
# What galaxy.yml leaves out of these folders, and why: tests of the application; a place that git would forget.
LEFT_OUT = ("/tests/", "/ruff.toml", "/.gitkeep")


def belongs(name: str) -> bool:
    if name.startswith(SANITY):
        return True
    return name.partition("/")[0] in FOLDERS and not any(part in f"/{name}" for part in LEFT_OUT)


def test_it_holds_what_belongs_in_it_and_nothing_else(members: set[str]) -> None:
    wanted = {name for name in tracked() if belongs(name)} | FILES
    assert sorted(members - wanted) == [], "name them in build_ignore of galaxy.yml, or here if they belong in it"
    assert sorted(wanted - members) == [], "build_ignore of galaxy.yml leaves out too much"


def test_every_kind_of_content_is_in_it(members: set[str]) -> None:
    """The rule above compares with the checkout; these must be there whatever that holds."""
    for name in (
        "apps/jewelry_shop/.containerignore",
        "apps/jewelry_shop/Containerfile",
        "apps/jewelry_shop/manage.py",
        "meta/runtime.yml",
        "playbooks/site.yml",
        "playbooks/clusters/kubeadm.yml",
        "plugins/modules/manifests.py",
        "plugins/action/manifests.py",
        "roles/artifacts/files/go/kubernetes/go.sum",
        "roles/celery_pod/files/celeryops_probe.dist-info/entry_points.txt",
    ):
        assert name in members


def test_it_is_small(tarball: Path) -> None:
    """Galaxy takes 20 MB; a binary or an archive that slipped in would be most of it."""
    assert tarball.stat().st_size < 3_000_000
