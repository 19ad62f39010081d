# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module k3d_images against the stand-ins of tests/standins/k3d: what is imported, and what is not imported again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.k3d import IMAGE, PROGRAMS, Result, four_times, k3d_cluster, standin_state
from helpers.modules import run_module

SHOP = {"reference": "shop:dev"}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return standin_state(tmp_path, monkeypatch)


@pytest.fixture
def images(state: Path) -> Iterator[Callable[..., Result]]:
    """Runs the module for a cluster of two nodes, with an image in Docker's store."""
    with k3d_cluster() as cluster:
        cluster(image=IMAGE, agents=1)
        name = cluster(image=IMAGE, agents=1)["nodes"][0]["name"].split("-")[1]
        known = json.loads(state.read_text())
        state.write_text(json.dumps(known | {"images": {"shop:dev": "sha256:aaaa"}}))

        def run(check: bool = False, **options: Any) -> Result:
            return run_module("k3d_images", {"cluster": name, **PROGRAMS, **options}, check=check, diff=True)

        yield run


def imports(state: Path) -> list[str]:
    found: list[str] = json.loads(state.read_text()).get("imports", [])
    return found


def test_an_image_of_docker_is_imported_once(images: Callable[..., Result], state: Path) -> None:
    imported = four_times(images, images=[SHOP])
    assert [(one["reference"], one["action"], one["reason"], len(one["nodes"])) for one in imported["images"]] == [
        ("docker.io/library/shop:dev", "imported", "not there", 2)
    ]
    assert imports(state) == ["shop:dev"]


def test_another_build_is_imported_anew(images: Callable[..., Result], state: Path) -> None:
    images(images=[SHOP])
    known = json.loads(state.read_text())
    state.write_text(json.dumps(known | {"images": {"shop:dev": "sha256:bbbb"}}))
    again = four_times(images, images=[SHOP])
    assert [one["reason"] for one in again["images"]] == ["built from other inputs"]


def test_a_node_that_was_added_gets_what_the_others_have(images: Callable[..., Result], state: Path) -> None:
    images(images=[SHOP])
    known = json.loads(state.read_text())
    added = next(name for name in known["containers"] if "-agent-0" in name)
    known["containers"][added]["imported"] = {}
    state.write_text(json.dumps(known))
    assert images(images=[SHOP])["images"][0]["nodes"] == [added]


def test_an_archive_is_known_by_its_key(images: Callable[..., Result], state: Path, tmp_path: Path) -> None:
    archive = tmp_path / "redis.tar"
    archive.write_text("localhost/celeryops/redis:1")
    redis = {"reference": "localhost/celeryops/redis:1", "archive": str(archive), "key": "one"}
    four_times(images, images=[redis])
    assert not images(images=[redis | {"key": ""}])["changed"]
    assert images(images=[redis | {"key": "two"}])["changed"]
    assert imports(state) == [str(archive)] * 2


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ({"reference": "nowhere:1"}, "No such image"),
        ({"reference": "localhost/x:1", "archive": "/nowhere.tar"}, "/nowhere.tar"),
    ],
)
def test_what_is_not_there_is_said(images: Callable[..., Result], image: dict[str, str], said: str) -> None:
    for check in (True, False):
        refused = images(check=check, images=[image])
        assert refused["failed"]
        assert said in refused["msg"]
        assert refused["images"] == []


def test_without_a_cluster_check_mode_plans_and_a_run_fails(images: Callable[..., Result]) -> None:
    assert images(check=True, cluster="other", images=[SHOP])["images"][0]["action"] == "imported"
    refused = images(cluster="other", images=[SHOP])
    assert refused["failed"]
    assert "There is no k3d cluster other" in refused["msg"]
