# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache on disk: ``<root>/<name>/<key>/`` appears whole or not at all."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["Store"]

_META = "artifact.json"


class Store:
    """Finished artifacts, the scratch space of running builds, and the lock between builders.

    ``root`` need not exist before something is built.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    def path(self, name: str, key: str) -> Path:
        return self.root / name / key

    def has(self, name: str, key: str) -> bool:
        return (self.path(name, key) / _META).is_file()

    def meta(self, name: str, key: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.path(name, key) / _META).read_text(encoding="utf-8"))
        return found

    def log(self, name: str) -> Path:
        folder = self.root / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{name}.log"

    @contextmanager
    def lock(self, waiting: Callable[[float], None]) -> Iterator[Path]:
        """Yields an empty scratch folder to the only builder; ``waiting`` hears the seconds spent queueing.

        Whatever lies in the scratch space when the lock is won was left by a builder that died.
        """
        self._make_root()
        scratch = self.root / ".scratch"
        with (self.root / ".lock").open("w") as handle:
            start = time.monotonic()
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    waiting(time.monotonic() - start)
                    # flock() that blocks could not say that it waits, nor for how long.
                    time.sleep(0.5)
            _clear(scratch)
            scratch.mkdir(exist_ok=True)
            try:
                yield scratch
            finally:
                _clear(scratch)

    def _make_root(self) -> None:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise CeleryOpsError(
                "the cache of artifacts cannot be written",
                expected=f"a writable folder {self.root}",
                found=str(error),
                remedy="correct its owner or mode, or set `platform_cache_dir` to another folder",
            ) from error

    def publish(self, staged: Path, name: str, key: str, meta: Mapping[str, Any]) -> None:
        """Makes the content of ``staged`` the artifact: readable by all, then there in one step."""
        (staged / _META).write_text(json.dumps(meta, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        for path in [staged, *staged.rglob("*")]:
            if path.is_symlink():
                continue
            executable = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if executable else 0o644)
            _flush(path)
        target = self.path(name, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():  # without its metadata: not one of ours, or damaged
            shutil.rmtree(target)
        staged.rename(target)
        _flush(target.parent)

    def prune(self, name: str, keep: int) -> None:
        """Forgets all but the ``keep`` newest versions of an artifact."""
        versions = sorted((self.root / name).iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
        for old in versions[keep:]:
            shutil.rmtree(old)

    def remove(self, name: str) -> bool:
        """Forgets every version of an artifact; true when there was one."""
        folder = self.root / name
        if not folder.exists():
            return False
        shutil.rmtree(folder)
        return True


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and os.geteuid() != 0:
        # the image storage of an unprivileged user holds files of that user's other UIDs
        subprocess.run(["buildah", "unshare", "rm", "-rf", str(folder)], check=False, capture_output=True)  # pylint: disable=ansible-bad-function


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
