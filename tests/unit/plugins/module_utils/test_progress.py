# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module's end of live progress, over a real FIFO."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._progress import CHANNEL, LONGEST, Reporter


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    path = tmp_path / "lines"
    os.mkfifo(path)
    monkeypatch.setenv(CHANNEL, str(path))
    channel = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield channel
    os.close(channel)


def test_a_line_is_kept_and_shown(listener: int) -> None:
    kept: list[str] = []
    report = Reporter(kept)
    report("Job shop/migrate: complete")
    assert os.read(listener, 4096) == b"Job shop/migrate: complete\n"
    report("the end")
    assert os.read(listener, 4096) == b"the end\n"
    assert kept == ["Job shop/migrate: complete", "the end"]


def test_what_a_terminal_would_obey_is_left_out(listener: int) -> None:
    kept: list[str] = []
    Reporter(kept)("red \x1b[31m\nand more\0")
    assert kept == ["red  [31m and more "]
    assert os.read(listener, 4096) == b"red  [31m and more \n"


def test_a_long_line_is_shown_in_part(listener: int) -> None:
    kept: list[str] = []
    Reporter(kept)("ä" * 5000)
    assert kept == ["ä" * 5000]
    assert len(os.read(listener, 65536)) == LONGEST + 1


def test_nobody_reads(listener: int) -> None:
    kept: list[str] = []
    report = Reporter(kept)
    for _ in range(100):
        report("x" * 2000)
    assert len(kept) == 100


@pytest.mark.parametrize("path", [None, "/nonexistent/lines"])
def test_nobody_listens(path: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CHANNEL, raising=False)
    if path:
        monkeypatch.setenv(CHANNEL, path)
    kept: list[str] = []
    report = Reporter(kept)
    report("one")
    report("two")
    assert kept == ["one", "two"]


def test_the_listener_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lines"
    os.mkfifo(path)
    monkeypatch.setenv(CHANNEL, str(path))
    channel = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    kept: list[str] = []
    report = Reporter(kept)
    report("one")
    os.close(channel)
    report("two")
    report("three")
    assert kept == ["one", "two", "three"]
