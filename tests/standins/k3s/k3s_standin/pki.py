# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cluster's authorities and certificates, made with the openssl command under k3s's file names."""

from __future__ import annotations

import ipaddress
import subprocess
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["AUTHORITIES", "BUNDLE", "Pki", "Subject"]

# Folder-relative stems of key and certificate: what k3s makes once per cluster.
AUTHORITIES = ("client-ca", "server-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca")
# What a joining server receives, and what lies in the datastore for a restored one.
BUNDLE = (*(f"{stem}.{suffix}" for stem in AUTHORITIES for suffix in ("crt", "key")), "service.key")
_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names: user and groups, as Kubernetes reads them."""

    user: str
    groups: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        parts = [f"O={group}" for group in self.groups] + [f"CN={self.user}"]
        return "/" + "/".join(part.replace("/", "\\/") for part in parts)


class Pki:
    """Everything below ``server/tls``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        return self.folder / name

    def make_authorities(self) -> None:
        """Make what is missing; what is there stays."""
        (self.folder / "etcd").mkdir(parents=True, exist_ok=True, mode=0o700)
        for stem in AUTHORITIES:
            if not self.path(f"{stem}.crt").exists():
                name = f"/CN={'etcd-' if '/' in stem else 'k3s-'}{Path(stem).name}@{int(time.time())}"
                self._openssl(
                    "req", "-x509", *_KEY, "-days", "3650", "-subj", name,
                    "-keyout", str(self.path(f"{stem}.key")), "-out", str(self.path(f"{stem}.crt")),
                    "-addext", "keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign",
                )  # fmt: skip
        if not self.path("service.key").exists():
            self._openssl(
                "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048",
                "-out", str(self.path("service.key")),
            )  # fmt: skip

    def bundle(self) -> dict[str, str]:
        """Names and contents of the authorities."""
        return {name: self.path(name).read_text() for name in BUNDLE}

    def unpack(self, bundle: Mapping[str, str]) -> None:
        """Put a bundle in place of what is here."""
        for name in BUNDLE:
            target = self.path(name)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.touch(mode=0o600)
            target.write_text(bundle[name])

    def issue(self, stem: str, authority: str, subject: Subject, names: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate and key ``<stem>.crt`` and ``.key``, good for servers and clients. Returns both paths.

        As with k3s a restart changes neither: they are made anew for other names or by another authority.
        """
        certificate, key, note = (self.path(f"{stem}.{suffix}") for suffix in ("crt", "key", "made-for"))
        certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted = "\n".join((subject.text, *_extensions(names), self.path(f"{authority}.crt").read_text()))
        if note.exists() and note.read_text() == wanted:
            return certificate, key
        with tempfile.TemporaryDirectory() as scratch:
            request, extensions = Path(scratch, "request"), Path(scratch, "extensions")
            extensions.write_text("\n".join(_extensions(names)))
            self._openssl("req", "-new", *_KEY, "-subj", subject.text, "-keyout", str(key), "-out", str(request))
            self._openssl(
                "x509", "-req", "-in", str(request), "-days", "365", "-out", str(certificate),
                "-CA", str(self.path(f"{authority}.crt")), "-CAkey", str(self.path(f"{authority}.key")),
                "-set_serial", str(time.time_ns()), "-extfile", str(extensions),
            )  # fmt: skip
        # Last, so that a pair of which one half is missing is not taken for made.
        note.write_text(wanted)
        return certificate, key

    @staticmethod
    def _openssl(*arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, umask=0o077)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")


def _extensions(names: Iterable[str]) -> list[str]:
    lines = [
        "basicConstraints=CA:FALSE",
        "keyUsage=critical,digitalSignature,keyEncipherment",
        "extendedKeyUsage=serverAuth,clientAuth",
    ]
    alternatives = [f"{'IP' if _is_address(name) else 'DNS'}:{name}" for name in dict.fromkeys(names) if name]
    return lines + ([f"subjectAltName={','.join(alternatives)}"] if alternatives else [])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
