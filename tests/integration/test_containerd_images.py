# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module containerd_images against a containerd of its own, the one that role artifacts built."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "celeryops/artifacts/containerd"
BUILT = sorted(CACHE.glob("*/containerd"), key=lambda p: p.stat().st_mtime)

pytestmark = [
    pytest.mark.skipif(not BUILT, reason="no containerd in the cache: make artifacts"),
    pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root"),
]


@dataclass(frozen=True)
class Containerd:
    folder: Path

    @property
    def ctr(self) -> list[str]:
        return [str(BUILT[-1].with_name("ctr")), "--address", str(self.folder / "c.sock"), "--namespace", "tests"]

    def images(self) -> str:
        return subprocess.run([*self.ctr, "images", "list"], capture_output=True, text=True, check=True).stdout

    def apply(self, images: list[dict[str, str]], *arguments: str) -> dict[str, Any]:
        """The result of the module with these images."""
        result = self.folder / "result.json"
        options = {
            "images": images,
            "ctr": self.ctr[0],
            "address": str(self.folder / "c.sock"),
            "containerd_namespace": "tests",
        }
        tasks = [
            {"celeryops.platform.containerd_images": options, "register": "done", "ignore_errors": True},
            {
                "ansible.builtin.copy": {"content": "{{ done | to_json }}", "dest": str(result)},
                "check_mode": False,
            },
        ]
        play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]
        (self.folder / "play.yml").write_text(json.dumps(play), encoding="utf-8")
        argv = [str(ANSIBLE_PLAYBOOK), "-i", "localhost,", "-e", f"ansible_python_interpreter={sys.executable}"]
        subprocess.run([*argv, str(self.folder / "play.yml"), *arguments], cwd=ROOT, check=True)
        found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
        return found


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    made = Containerd(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text(
        'version = 3\ndisabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", '
        '"io.containerd.grpc.v1.cri", "io.containerd.nri.v1.nri"]\n',
        encoding="utf-8",
    )
    log = (tmp_path / "log").open("wb")
    argv = [str(BUILT[-1]), "--config", str(config), "--root", str(tmp_path / "root")]
    argv += ["--state", str(tmp_path / "state"), "--address", str(tmp_path / "c.sock")]
    with log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        while subprocess.run([*made.ctr, "version"], capture_output=True, check=False).returncode != 0:
            assert process.poll() is None, (tmp_path / "log").read_text(encoding="utf-8")
            time.sleep(0.1)
        yield made
        process.terminate()


def archive(path: Path, reference: str, content: str) -> str:
    """Writes a docker-archive with one file in it and returns its path."""

    def packed(files: dict[str, bytes]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    layer = packed({"file": content.encode()})
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    path.write_bytes(packed({name: config, "layer.tar": layer, "manifest.json": manifest}))
    return str(path)


@pytest.mark.slow
def test_check_apply_check_apply(containerd: Containerd, tmp_path: Path) -> None:
    image = {"reference": "localhost/x/a:1", "archive": archive(tmp_path / "a.tar", "localhost/x/a:1", "one")}
    wanted = [{**image, "key": "k1"}]
    results = []
    for number, arguments in enumerate((["--check"], [], ["--check"], [])):
        results.append(containerd.apply(wanted, *arguments))
        assert ("localhost/x/a:1" in containerd.images()) is (number > 0)
    assert [r["changed"] for r in results] == [True, True, False, False]
    assert [r["images"][0]["action"] for r in results] == ["imported", "imported", "present", "present"]
    assert "io.celeryops.key=k1,io.cri-containerd.pinned=pinned" in containerd.images()


@pytest.mark.slow
def test_the_same_tag_from_other_inputs_is_replaced(containerd: Containerd, tmp_path: Path) -> None:
    reference = "localhost/x/a:v1"
    containerd.apply([{"reference": reference, "archive": archive(tmp_path / "a.tar", reference, "1"), "key": "k1"}])
    before = containerd.images()
    other = [{"reference": reference, "archive": archive(tmp_path / "b.tar", reference, "2"), "key": "k2"}]
    replaced = containerd.apply(other)
    assert (replaced["changed"], replaced["images"][0]["reason"]) == (True, "built from other inputs")
    after = containerd.images()
    assert "io.celeryops.key=k2" in after
    assert before.splitlines()[1].split()[2] != after.splitlines()[1].split()[2]
    assert containerd.apply(other)["changed"] is False


def test_a_missing_archive_keeps_what_was_done_in_the_result(containerd: Containerd, tmp_path: Path) -> None:
    good = {"reference": "localhost/x/a:1", "archive": archive(tmp_path / "a.tar", "localhost/x/a:1", "one")}
    failed = containerd.apply([good, {"reference": "localhost/x/b:1", "archive": "/nowhere/b.tar"}])
    assert failed["failed"] is True
    assert failed["changed"] is True
    assert [row["action"] for row in failed["images"]] == ["imported", "pending"]
    assert "/nowhere/b.tar" in failed["msg"]


def test_a_damaged_archive_is_refused_with_what_containerd_said(containerd: Containerd, tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(b"no archive")
    failed = containerd.apply([{"reference": "localhost/x/a:1", "archive": str(tmp_path / "bad.tar")}])
    assert failed["failed"] is True
    assert failed["changed"] is False
    assert "ctr images import failed" in failed["msg"]
