# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file of a k3s release: where it is, what it has to hash to, and getting it whole to its place."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3s import versions
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.download import Client, shown

__all__ = ["ARCHITECTURES", "Asset", "bundled", "digest", "ensure", "sums"]

ARCHITECTURES = ("amd64", "arm64")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Asset:
    """A file of a release. ``kind`` is binary or images, ``base`` what precedes the version in its address."""

    version: str
    kind: str
    architecture: str
    base: str

    def __post_init__(self) -> None:
        versions.parse(self.version)
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or "@" in parts.netloc:
            raise CeleryOpsError(
                "The release site has no usable address",
                expected="a URL that begins with https:// or http://, without user and password",
                found=shown(self.base),
                remedy="correct k3s_release_url. Credentials go into k3s_release_username and k3s_release_password; "
                "for files on the controller there is k3s_bundle",
            )

    @property
    def name(self) -> str:
        if self.kind == "images":
            return f"k3s-airgap-images-{self.architecture}.tar.zst"
        return "k3s" if self.architecture == "amd64" else f"k3s-{self.architecture}"

    def url(self, name: str) -> str:
        # The + of a version means a blank to some servers unless it is escaped.
        return f"{self.base.rstrip('/')}/{quote(self.version, safe='')}/{name}"


def sums(text: str) -> dict[str, str]:
    """File name to SHA-256, from a file as sha256sum writes it. Names are taken without their folder."""
    pairs = (line.split() for line in text.splitlines())
    return {
        pair[1].lstrip("*").rpartition("/")[2]: pair[0].lower()
        for pair in pairs
        if len(pair) == 2 and _SHA256.fullmatch(pair[0].lower())
    }


def _published(asset: Asset, client: Client) -> str:
    file = f"sha256sum-{asset.architecture}.txt"
    url = asset.url(file)
    found = sums(client.text(url, what=f"The list of checksums of k3s {asset.version}"))
    if asset.name not in found:
        raise CeleryOpsError(
            f"The release's checksums do not name {asset.name}",
            expected=f"a line for {asset.name} in {shown(url)}",
            found=", ".join(sorted(found)) or "no checksum",
            remedy="see what the site delivers there; k3s_checksums pins them without this file",
        )
    return found[asset.name]


def digest(path: Path) -> str:
    """SHA-256 of a file; empty when there is none."""
    if not path.is_file():
        return ""
    found = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def _pin(sha256: str) -> str:
    if sha256 and not _SHA256.fullmatch(sha256):
        raise CeleryOpsError(
            "This is no SHA-256",
            expected="64 hexadecimal digits, in small letters",
            found=repr(sha256),
            remedy="take it from the release's sha256sum file",
        )
    return sha256


def bundled(asset: Asset, folder: Path, *, sha256: str, result: dict[str, Any]) -> Path:
    """The asset's file in a folder that holds the files of one release. It is verified, and nothing else."""
    path, listing = folder / asset.name, folder / f"sha256sum-{asset.architecture}.txt"
    expected = _pin(sha256)
    if not expected and listing.is_file():
        expected = sums(listing.read_text(encoding="utf-8", errors="replace")).get(asset.name, "")
    found = digest(path)
    missing = [str(path)] if not found else [] if expected else [f"a line for {asset.name} in {listing}"]
    if missing:
        raise CeleryOpsError(
            f"The bundle lacks a file of k3s {asset.version}",
            expected=", ".join(missing),
            found=", ".join(sorted(one.name for one in folder.glob("*"))) or "nothing",
            remedy="put the files of the release there, or correct k3s_bundle",
        )
    if found != expected:
        raise CeleryOpsError(
            f"{path} is not what its checksum says",
            expected=f"SHA-256 {expected}",
            found=f"SHA-256 {found}",
            remedy="nothing was installed. Copy the file again, or correct the pin in k3s_checksums",
        )
    result.update(sha256=expected, pinned=bool(sha256))
    return path


def _fetch(asset: Asset, part: Path, expected: str, client: Client, result: dict[str, Any]) -> None:
    url = asset.url(asset.name)
    what = f"{asset.name} of k3s {asset.version}"
    for _round in range(2):
        fetched = client.file(url, part, what=what)
        result["received"] += fetched.received
        result["resumed_at"] = fetched.resumed_at
        found = digest(part)
        if found == expected:
            return
        part.unlink()
        if not fetched.resumed_at and fetched.received:
            break
        # What an earlier run left was the beginning of something else: once more, from the start.
    raise CeleryOpsError(
        f"{what} is not what its checksum says",
        expected=f"SHA-256 {expected}",
        found=f"SHA-256 {found} from {shown(url)}",
        remedy="nothing was installed. Correct the pin in k3s_checksums, or find out who changed the file",
    )


def ensure(
    asset: Asset, dest: Path, *, sha256: str, mode: int, client: Client, check: bool, result: dict[str, Any]
) -> None:
    """Has ``dest`` be this asset. ``sha256`` is the pin; empty, the release's own list is asked.

    Fills in changed, sha256, pinned, received and resumed_at. The file appears at once and whole; until then what
    arrived is kept beside it as NAME.part.
    """
    expected = _pin(sha256) or _published(asset, client)
    result.update(sha256=expected, pinned=bool(sha256), url=shown(asset.url(asset.name)))
    if digest(dest) == expected:
        if dest.stat().st_mode & 0o7777 != mode:
            result["changed"] = True
            if not check:
                dest.chmod(mode)
        return
    result["changed"] = True
    if check:
        return
    dest.parent.mkdir(parents=True, exist_ok=True)
    part = dest.with_name(f".{dest.name}.{asset.version}.part")
    _fetch(asset, part, expected, client, result)
    part.chmod(mode)
    part.replace(dest)
    os.utime(dest)
