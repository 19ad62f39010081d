# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache on a real file system: whole artifacts or none, one builder, no leftovers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._artifacts import sources
from ansible_collections.celeryops.platform.plugins.module_utils._artifacts.store import Store
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError


def silent(_seconds: float) -> None:
    pass


def staged(scratch: Path, content: str = "x") -> Path:
    folder = scratch / "out"
    folder.mkdir()
    (folder / "program").write_text(content)
    (folder / "program").chmod(0o700)
    (folder / "data").write_text("y")
    (folder / "data").chmod(0o600)
    return folder


def test_a_published_artifact_is_there_whole_and_readable_by_all(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "cache"))
    with store.lock(silent) as scratch:
        store.publish(staged(scratch), "a", "k", {"name": "a"})
    assert store.has("a", "k")
    assert store.meta("a", "k") == {"name": "a"}
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in store.path("a", "k").iterdir()}
    assert modes == {"program": 0o755, "data": 0o644, "artifact.json": 0o644}
    assert stat.S_IMODE(store.path("a", "k").stat().st_mode) == 0o755


def test_what_was_not_published_is_not_there(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    with pytest.raises(RuntimeError), store.lock(silent) as scratch:
        staged(scratch)
        raise RuntimeError
    assert not store.has("a", "k")
    assert {p.name for p in tmp_path.iterdir()} == {".lock"}


def test_leftovers_of_a_builder_that_died_are_gone(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    (tmp_path / ".scratch" / "half").mkdir(parents=True)
    (tmp_path / "a" / "k").mkdir(parents=True)  # a folder without its metadata is no artifact
    assert not store.has("a", "k")
    with store.lock(silent) as scratch:
        assert list(scratch.iterdir()) == []
        store.publish(staged(scratch), "a", "k", {})
    assert store.has("a", "k")


def test_the_lock_admits_one_builder(tmp_path: Path) -> None:
    waited: list[float] = []

    class Enough(Exception):
        pass

    def waiting(seconds: float) -> None:
        waited.append(seconds)
        raise Enough

    store = Store(str(tmp_path))
    with store.lock(silent), pytest.raises(Enough), Store(str(tmp_path)).lock(waiting):
        pass
    assert len(waited) == 1
    with store.lock(waiting):  # free again
        pass


def test_old_versions_go_and_a_removed_artifact_is_forgotten(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    for number in range(4):
        with store.lock(silent) as scratch:
            store.publish(staged(scratch), "a", f"k{number}", {})
        os.utime(store.path("a", f"k{number}"), (number, number))
    store.prune("a", 3)
    assert {p.name for p in (tmp_path / "a").iterdir()} == {"k1", "k2", "k3"}
    assert store.remove("a")
    assert not store.remove("a")
    assert not store.has("a", "k3")


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(CeleryOpsError, match="platform_cache_dir"),
        Store(str(tmp_path / "file")).lock(silent),
    ):
        pass


def test_only_inputs_are_digested_and_staged(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("Containerfile", "pkg/a.py", "pkg/__pycache__/a.pyc", "tests/t.py", "doc.md", ".git/HEAD"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "run").write_text("#!/bin/sh\n")
    (source / "run").chmod(0o755)
    (source / "link").symlink_to("doc.md")
    (source / ".containerignore").write_text("# comment\ntests/\n*.md\n.containerignore\n")
    before = sources.digests(str(source))
    assert sorted(before) == ["Containerfile", "link", "pkg/a.py", "run"]

    sources.stage(str(source), tmp_path / "copy")
    (tmp_path / "copy" / ".containerignore").write_text((source / ".containerignore").read_text())
    assert sources.digests(str(tmp_path / "copy")) == before

    (source / "tests/t.py").write_text("other")
    assert sources.digests(str(source)) == before
    (source / "run").chmod(0o644)
    assert sources.digests(str(source))["run"] != before["run"]
    (source / "pkg/a.py").write_text("other")
    assert sources.digests(str(source))["pkg/a.py"] != before["pkg/a.py"]


def test_a_missing_input_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CeleryOpsError, match="input folder"):
        sources.digests(str(tmp_path / "none"))
