# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup missing_packages against dpkg itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible.errors import AnsibleError

from ansible_collections.celeryops.platform.plugins.lookup.missing_packages import LookupModule


def missing(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    # Options are read from the loader's own copy of the plugin; this one has none but the names.
    monkeypatch.setattr(LookupModule, "set_options", lambda self, **given: None)
    return LookupModule().run(list(names))


def test_only_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("dpkg", "no-such-package-1", "coreutils", "no-such-package-0")
    assert missing(monkeypatch, *names) == ["no-such-package-1", "no-such-package-0"]


def test_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(monkeypatch, "dpkg", "coreutils") == []


def test_a_question_that_dpkg_cannot_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "dpkg-query"
    broken.write_text("#!/bin/sh\necho 'the database is locked away' >&2\nexit 2\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with pytest.raises(AnsibleError, match="ended with 2: the database is locked away"):
        missing(monkeypatch, "dpkg")


def test_no_dpkg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AnsibleError, match="expected a Debian controller"):
        missing(monkeypatch, "dpkg")
