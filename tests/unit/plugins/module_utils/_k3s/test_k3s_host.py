# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is found of k3s below a folder that has the layout of a host."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import MARK, Layout, Survey, password
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.wait import lacking

HASH = "a" * 64
TOKEN = f"K10{HASH}::server:secret-part"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(
        data=tmp_path / "data",
        config=tmp_path / "etc",
        program=tmp_path / "bin/k3s",
        units=tmp_path / "units",
        scripts=tmp_path / "init.d",
    )
    for folder in (made.data / "server", made.config / "config.yaml.d", made.program.parent, made.units):
        folder.mkdir(parents=True)
    return made


def found(layout: Layout, token: str = "", images: bool = False) -> dict[str, object]:
    return Survey(layout, "server").read(token, images)


@pytest.mark.parametrize(
    ("token", "secret"),
    [
        (TOKEN, "secret-part"),
        (f"{TOKEN}\n", "secret-part"),
        ("short", "short"),
        ("K10::server:x", "x"),
        ("K10x", "K10x"),
    ],
)
def test_the_secret_part_of_a_token(token: str, secret: str) -> None:
    assert password(token) == secret


def test_a_fresh_host(layout: Layout) -> None:
    seen = found(layout, token="anything")  # noqa: S106
    assert (seen["version"], seen["sha256"], seen["initialised"], seen["datastore"]) == ("", "", False, "")
    assert (seen["ca"], seen["token"], seen["installed_as"], seen["managed"]) == ("", "unknown", [], [])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("", "unknown"),
        ("secret-part", "matches"),
        (TOKEN, "matches"),
        ("other", "differs"),
        (f"K10{HASH}::server:o", "differs"),
    ],
)
def test_tokens_are_compared_and_not_shown(layout: Layout, given: str, expected: str) -> None:
    (layout.data / "server/token").write_text(f"{TOKEN}\n")
    seen = found(layout, token=given)
    assert (seen["initialised"], seen["token"]) == (True, expected)
    assert "secret-part" not in str(seen)


def test_a_server_that_is_a_member(layout: Layout) -> None:
    (layout.data / "server/token").write_text(TOKEN)
    assert found(layout)["datastore"] == "sqlite"
    (layout.data / "server/db/etcd").mkdir(parents=True)
    assert found(layout)["datastore"] == "etcd"
    layout.program.write_text("#!/bin/sh\necho 'k3s version v1.33.4+k3s1 (abcdef)'\necho 'go version go1.24'\n")
    layout.program.chmod(0o755)
    (layout.units / "k3s.service").touch()
    (layout.units / "k3s-agent.service").touch()
    (layout.data / "agent").mkdir()
    (layout.data / "agent/server-ca.crt").write_text("the authority")
    seen = found(layout)
    assert (seen["version"], seen["installed_as"]) == ("v1.33.4+k3s1", ["server", "agent"])
    assert len(str(seen["ca"])) == len(str(seen["sha256"])) == 64


@pytest.mark.parametrize(
    ("file", "content", "joins"),
    [
        ("config.yaml", "cluster-init: true\ntls-san: [server]\n", False),
        ("config.yaml", "debug: true\nserver: https://192.0.2.11:6443\n", True),
        ("config.yaml.d/by-hand.yaml", '"server": https://192.0.2.11:6443\n', True),
        ("config.yaml.d/by-hand.yaml", "kubelet-arg:\n  server: x\n# server: none\n", False),
    ],
)
def test_whether_a_server_joins_another(layout: Layout, file: str, content: str, joins: bool) -> None:
    assert found(layout)["joins"] is False
    (layout.config / file).write_text(content)
    assert found(layout)["joins"] is joins


def test_files_of_the_role_and_of_others(layout: Layout) -> None:
    for name, first in (("10-mine", MARK), ("20-yours", "# by hand")):
        (layout.config / f"config.yaml.d/{name}.yaml").write_text(f"{first}\ndebug: true\n")
    (layout.config / "registries.yaml").write_text(f"{MARK}\n{{}}\n")
    assert found(layout)["managed"] == [
        str(layout.config / "registries.yaml"),
        str(layout.config / "config.yaml.d/10-mine.yaml"),
    ]


def test_names_that_are_taken(layout: Layout) -> None:
    folder = layout.program.parent
    (folder / "kubectl").write_text("another program")
    (folder / "ctr").symlink_to("k3s")
    (folder / "crictl").symlink_to(layout.program)
    taken = found(layout)["foreign_tools"]
    assert "kubectl" in taken  # type: ignore[operator]


def test_a_file_that_is_newer_than_the_process(layout: Layout) -> None:
    config = layout.config / "config.yaml"
    config.touch()
    started = config.stat().st_mtime
    survey = Survey(layout, "server")
    drop_ins = layout.config / "config.yaml.d"
    os.utime(drop_ins, (started - 9, started - 9))
    assert survey._outdated("k3s", started + 1) == []
    assert survey._outdated("k3s", started - 1) == [str(config)]
    assert survey._outdated("k3s", 0.0) == []
    # A drop-in that was taken away leaves nothing but the time of its folder.
    os.utime(drop_ins, (started + 9, started + 9))
    assert survey._outdated("k3s", started + 1) == [str(drop_ins)]


def test_what_keeps_a_service_from_being_well() -> None:
    well = {
        "service": {"name": "k3s", "active": True},
        "outdated": [],
        "health": {"ready": True, "etcd": None, "version": "v1"},
    }
    assert lacking(well, "v1") == []
    assert lacking({**well, "health": {"ready": False, "etcd": False, "version": ""}}, "v1") == [
        "the API server's /readyz is not 200",
        "the etcd member is not healthy",
        "the API server runs nothing, not v1",
    ]
    assert lacking({**well, "outdated": ["/x"]}, "") == ["k3s was started before /x was written"]
    assert lacking({**well, "service": {"name": "k3s", "active": False}}, "v1") == ["the service k3s is not active"]
    agent = {**well, "service": {"name": "k3s-agent", "active": True}, "health": {"ready": False, "etcd": None}}
    assert lacking(agent, "v1") == []
