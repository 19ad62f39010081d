# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests of AWX as code need: the collection awx.awx, and the data as the role reads it."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from .modules import ROOT

__all__ = ["DATA", "awx_collection"]

Json = dict[str, Any]
_PINNED = ROOT / "tests/requirements/awx-collection.txt"


class _Loader(yaml.SafeLoader):
    """Takes Ansible's tag for text that is no template as the text."""


_Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))


def _read() -> Json:
    found: Json = {}
    for path in sorted((ROOT / "awx").glob("*.yml")):
        if path.name != "requirements.yml":
            # A SafeLoader with one tag more.
            found |= yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506
    return found


DATA = _read()


def awx_collection(cache: Path) -> Path:
    """A folder of collections with awx.awx, out of the release of `ansible` that is pinned."""
    version = _PINNED.read_text(encoding="utf-8").partition("ansible==")[2].split()[0]
    target = cache / f"awx-of-ansible-{version}"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        # Only modules are taken out of it, which run with an older Python than ansible-core of that release.
        options = ["--quiet", "--no-deps", "--require-hashes", "--ignore-requires-python"]
        pip = [sys.executable, "-m", "pip", "download", *options, "-r", str(_PINNED), "-d", folder]
        subprocess.run(pip, check=True)
        (wheel,) = Path(folder).glob("ansible-*.whl")
        unpacked = Path(folder, "unpacked")
        with zipfile.ZipFile(wheel) as archive:
            prefix = "ansible_collections/awx/awx/"
            archive.extractall(unpacked, [name for name in archive.namelist() if name.startswith(prefix)])
        unpacked.rename(target)
    return target
