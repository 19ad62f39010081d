#!/usr/bin/env python3
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs the stand-in as a release of k3s, under any version: files, names and checksums as on a release page."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

__all__ = ["pack", "zstd_frames"]

_SOURCE = Path(__file__).resolve().parent / "k3s_standin"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK = 128 * 1024


def pack(
    folder: Path, version: str, programs: Mapping[str, str], images: Mapping[str, Mapping[str, str]]
) -> list[Path]:
    """Write program, image archive, image list and checksums of a release into `folder`; returns their paths.

    `programs` are paths by name and `images` {"reference", "archive"} by name, all as the nodes see them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    architecture = _MACHINES[platform.machine()]
    program = folder / ("k3s" if architecture == "amd64" else f"k3s-{architecture}")
    program.write_bytes(_program({"version": version, "programs": dict(programs), "images": dict(images)}))
    program.chmod(0o755)
    archive = folder / f"k3s-airgap-images-{architecture}.tar.zst"
    with archive.open("wb") as file:
        for part in zstd_frames(_bundle([image["archive"] for image in images.values()])):
            file.write(part)
    names = folder / "k3s-images.txt"
    names.write_text("".join(f"{image['reference']}\n" for image in images.values()))
    sums = folder / f"sha256sum-{architecture}.txt"
    listed = [(hashlib.sha256(path.read_bytes()).hexdigest(), path.name) for path in (program, archive, names)]
    sums.write_text("".join(f"{digest}  {name}\n" for digest, name in listed))
    return [program, archive, names, sums]


def zstd_frames(content: bytes) -> Iterator[bytes]:
    """One zstd frame of raw blocks (RFC 8878): the format without its compression, which Python has only from 3.14."""
    # Magic number; no single segment, no content size, no checksum; a window of 128 KiB.
    yield b"\x28\xb5\x2f\xfd\x00\x38"
    for start in range(0, max(len(content), 1), _BLOCK):
        block = content[start : start + _BLOCK]
        last = start + _BLOCK >= len(content)
        yield ((len(block) << 3) | int(last)).to_bytes(3, "little") + block


def _program(release: Mapping[str, Any]) -> bytes:
    """A zip archive that Python runs, with everything inside that the node's Python lacks."""
    files = {f"k3s_standin/{path.name}": path.read_bytes() for path in sorted(_SOURCE.iterdir()) if path.is_file()}
    # PyYAML without its optional C library.
    package = Path(yaml.__file__).parent
    files |= {f"yaml/{path.name}": path.read_bytes() for path in sorted(package.glob("*.py"))}
    files["k3s_standin/release.json"] = json.dumps(release, indent=2, sort_keys=True).encode()
    files["__main__.py"] = b"import sys\n\nfrom k3s_standin.__main__ import main\n\nsys.exit(main())\n"
    packed = io.BytesIO(b"#!/usr/bin/python3\n")
    packed.seek(0, io.SEEK_END)
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            # The same release packed twice is the same file.
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def _bundle(archives: list[str]) -> bytes:
    """Several docker archives as one: layers are named by their content, manifests are a list."""
    manifests: list[Any] = []
    written: set[str] = set()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as target:
        for path in archives:
            with tarfile.open(path) as source:
                for member in source:
                    if member.name == "manifest.json":
                        manifests += json.loads(_read(source, member))
                    elif member.name != "repositories" and member.name not in written:
                        written.add(member.name)
                        target.addfile(member, source.extractfile(member) if member.isfile() else None)
        content = json.dumps(manifests).encode()
        header = tarfile.TarInfo("manifest.json")
        header.size = len(content)
        target.addfile(header, io.BytesIO(content))
    return packed.getvalue()


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"{archive.name}: {member.name} is no file")
    return file.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True, help="such as v1.36.3+k3s1")
    parser.add_argument("--parts", required=True, type=Path, help="JSON file with `programs` and `images`")
    parser.add_argument("--output", required=True, type=Path, help="folder of the release")
    arguments = parser.parse_args()
    parts = json.loads(arguments.parts.read_text())
    for path in pack(arguments.output, arguments.version, parts["programs"], parts["images"]):
        print(path)


if __name__ == "__main__":
    main()
