# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, links and kernel settings of a node, against a real file system and the running kernel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import (
    File,
    Link,
    Outcome,
    apply,
    missing_packages,
    run,
)


def outcome(check: bool = False, **declared: object) -> Outcome:
    result = Outcome()
    apply(check=check, outcome=result, **declared)  # type: ignore[arg-type]
    return result


def test_a_file_is_planned_written_and_then_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "config.toml"
    files = [File(str(path), "version = 3\n", "0640")]
    planned = outcome(check=True, files=files)
    assert planned.actions == [f"write {path}"]
    assert not path.exists()
    assert outcome(files=files).changed_paths == [str(path)]
    assert path.read_text() == "version = 3\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert outcome(check=True, files=files).actions == []
    assert outcome(files=files).actions == []
    assert [item.name for item in path.parent.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("change", ["content", "mode", "link"])
def test_a_file_that_was_changed_by_hand_is_corrected(tmp_path: Path, change: str) -> None:
    path = tmp_path / "unit"
    files = [File(str(path), "good\n")]
    outcome(files=files)
    if change == "content":
        path.write_text("bad\n")
    elif change == "mode":
        path.chmod(0o600)
    else:
        path.unlink()
        (tmp_path / "elsewhere").write_text("good\n")
        path.symlink_to(tmp_path / "elsewhere")
    assert outcome(files=files).actions == [f"write {path}"]
    assert not path.is_symlink()
    assert path.read_text() == "good\n"


def test_a_diff_shows_what_everybody_may_read_and_nothing_else(tmp_path: Path) -> None:
    open_file, secret = tmp_path / "open", tmp_path / "secret"
    shown = outcome(files=[File(str(open_file), "a\n"), File(str(secret), "hunter2\n", "0600")]).diff
    assert shown == [{"header": str(open_file), "before": "", "after": "a\n"}]


def test_a_link_follows_its_target_and_replaces_a_copy(tmp_path: Path) -> None:
    old, new, path = tmp_path / "v1", tmp_path / "v2", tmp_path / "bin" / "kubelet"
    old.write_text("1")
    new.write_text("2")
    assert outcome(links=[Link(str(path), str(old))]).actions == [f"link {path} to {old}"]
    assert outcome(links=[Link(str(path), str(old))]).actions == []
    assert outcome(links=[Link(str(path), str(new))]).changed_paths == [str(path)]
    path.unlink()
    path.write_text("a copy")
    outcome(links=[Link(str(path), str(new))])
    assert path.read_text() == "2"


def test_a_target_that_the_node_does_not_see_is_reported_and_nothing_is_started(tmp_path: Path) -> None:
    links = [Link(str(tmp_path / "kubelet"), str(tmp_path / "absent"))]
    result = outcome(links=links)
    assert result.missing_targets == [str(tmp_path / "absent")]
    assert result.actions == []
    assert not (tmp_path / "kubelet").is_symlink()


def test_a_kernel_setting_that_holds_is_left_alone() -> None:
    value = Path("/proc/sys/kernel/ostype").read_text().strip()
    assert outcome(sysctls={"kernel.ostype": value}).actions == []


def test_a_kernel_setting_that_cannot_be_set_says_what_was_found() -> None:
    with pytest.raises(CeleryOpsError) as caught:
        outcome(sysctls={"kernel.no_such_setting": "1"})
    assert caught.value.expected == "1"
    assert "no such setting" in str(caught.value.found)


def test_a_module_built_into_the_kernel_needs_no_loading() -> None:
    built_in = Path("/proc/filesystems").read_text().split()[-1]
    assert outcome(check=True, kernel_modules=[built_in]).actions == []
    assert outcome(check=True, kernel_modules=["no_such_module"]).actions == ["load kernel module no_such_module"]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs Debian")
def test_packages_that_are_not_installed_are_named() -> None:
    assert missing_packages(["dpkg", "no-such-package"]) == ["no-such-package"]
    assert missing_packages([]) == []


def test_a_command_that_fails_is_quoted_and_one_that_is_missing_named() -> None:
    with pytest.raises(CeleryOpsError, match="exit code 1: a reason"):
        run(["sh", "-c", "echo a reason >&2; exit 1"])
    with pytest.raises(CeleryOpsError, match="no-such-program on PATH"):
        run(["no-such-program"])
