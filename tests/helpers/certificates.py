# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates made with openssl, as the guide redis shows it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

__all__ = ["authority", "certify"]

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def authority(folder: Path, *, days: int = 30, usage: bool = True) -> Path:
    """ca.crt and ca.key in the folder, which is made; without ``usage`` Python 3.13 does not accept it."""
    folder.mkdir(parents=True, exist_ok=True)
    extension = ("-addext", "keyUsage=critical,keyCertSign,cRLSign") if usage else ()
    _openssl(folder, "req", "-x509", *_KEY, *extension, *_days(days), "-subj", "/CN=authority", *_out("ca"))
    return folder


def certify(folder: Path, names: Iterable[str], *, signer: Path | None = None, days: int = 30) -> Path:
    """tls.crt and tls.key for these, such as DNS:redis or IP:127.0.0.1.

    The authority in ``signer`` signs it, or that in the folder.
    """
    signer = signer or folder
    said = ",".join(names)
    _openssl(folder, "req", *_KEY, "-subj", "/CN=redis", "-addext", f"subjectAltName={said}", *_out("tls", "csr"))
    (folder / "tls.ext").write_text(f"subjectAltName={said}\nauthorityKeyIdentifier=keyid\n", encoding="utf-8")
    by = ("-CA", str(signer / "ca.crt"), "-CAkey", str(signer / "ca.key"), "-CAcreateserial", "-extfile", "tls.ext")
    _openssl(folder, "x509", "-req", "-in", "tls.csr", *by, *_days(days), "-out", "tls.crt")
    return folder


def _days(days: int) -> tuple[str, str]:
    return ("-days", str(days))


def _out(name: str, kind: str = "crt") -> tuple[str, ...]:
    return ("-keyout", f"{name}.key", "-out", f"{name}.{kind}")


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
