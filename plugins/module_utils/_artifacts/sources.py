# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads input folders: which files count, their digests, a copy of exactly these."""

from __future__ import annotations

import fnmatch
import hashlib
import shutil
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["digests", "stage"]

# Never an input: what Python, Git and editors leave in a folder by being used.
_NOISE = ("__pycache__", "*.pyc", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache", "*~", ".*.sw?")
_IGNORE = ".containerignore"


def _ignored(folder: Path) -> tuple[str, ...]:
    path = folder / _IGNORE
    if not path.is_file():
        return _NOISE
    lines = (line.strip().rstrip("/") for line in path.read_text(encoding="utf-8").splitlines())
    return (
        *_NOISE,
        *(line.removeprefix("**/") for line in lines if line and not line.startswith(("#", "!"))),
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CeleryOpsError(
            "an input folder of an artifact is missing",
            expected=f"the folder {folder}",
            found="nothing there",
            remedy="correct `source` in the catalogue",
        )
    patterns = _ignored(folder)
    found: list[Path] = []

    def walk(directory: Path) -> None:
        for path in sorted(directory.iterdir()):
            relative = path.relative_to(folder).as_posix()
            if any(fnmatch.fnmatch(path.name, p) or fnmatch.fnmatch(relative, p) for p in patterns):
                continue
            if path.is_dir() and not path.is_symlink():
                walk(path)
            else:
                found.append(path)

    walk(folder)
    return found


def _digest(path: Path) -> str:
    if path.is_symlink():
        return "link:" + hashlib.sha256(str(path.readlink()).encode()).hexdigest()
    mode = "x" if path.stat().st_mode & 0o100 else "-"
    return f"{mode}:{hashlib.sha256(path.read_bytes()).hexdigest()}"


def digests(source: str) -> dict[str, str]:
    """The digest of each file below ``source``, by its relative path; ``.containerignore`` is honoured."""
    folder = Path(source)
    return {path.relative_to(folder).as_posix(): _digest(path) for path in _files(folder)}


def stage(source: str, target: Path) -> None:
    """Copies the files that ``digests`` counts, so that a build sees what its key is made of."""
    folder = Path(source)
    target.mkdir(parents=True, exist_ok=True)
    for path in _files(folder):
        copy = target / path.relative_to(folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy, follow_symlinks=False)
