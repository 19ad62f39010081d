# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether clients will accept a certificate: each name is tried in a handshake that takes place in memory."""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["KEYS", "Fault", "Verdict", "examine"]

KEYS = ("tls.crt", "tls.key", "ca.crt")
# A handshake of TLS 1.3 takes two turns of each side.
_TURNS = 4


@dataclass(frozen=True)
class Fault:
    """What was expected of the certificate, what was found, and what to do."""

    expected: str
    found: str
    remedy: str


@dataclass(frozen=True)
class Verdict:
    """``names`` and ``expires`` are the certificate's own, as far as it could be read. ``later`` is why clients that
    check more strictly, as those of Python 3.13 do, would not accept it."""

    faults: tuple[Fault, ...] = ()
    names: tuple[str, ...] = ()
    expires: str = ""
    later: str = ""


def examine(data: Mapping[str, bytes], names: Sequence[str]) -> Verdict:
    """The certificate, key and authority in ``data``, under KEYS, as a server of all ``names`` would use them."""
    missing = [key for key in KEYS if not data.get(key)]
    if missing:
        found = ", ".join(sorted(data)) or "none"
        return Verdict((Fault(f"keys {', '.join(KEYS)}", f"keys {found}", f"Add {', '.join(missing)}."),))
    try:
        server = _server(data)
        trusted = _client(data)
    except (OSError, ValueError) as error:
        return Verdict((_unreadable(error),))
    # Whatever its names are, so that they can be told.
    trusted.check_hostname = False
    try:
        seen = _greet(server, trusted, names[0])
    except ssl.SSLError as error:
        return Verdict((_untrusted(error),))
    own = tuple(value for kind, value in seen.get("subjectAltName", ()) if kind == "DNS")
    fault = _names_fault(server, _client(data), names, own)
    strict = _client(data)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    later = "" if fault else _refusal(server, strict, names[0])
    return Verdict((fault,) if fault else (), own, str(seen.get("notAfter", "")), later)


def _names_fault(
    server: ssl.SSLContext, client: ssl.SSLContext, names: Sequence[str], own: Sequence[str]
) -> Fault | None:
    refused = [name for name in names if _refusal(server, client, name)]
    if not refused:
        return None
    return Fault(
        f"a certificate for {', '.join(refused)}",
        f"one for {', '.join(own) or 'no DNS name'}",
        "Add these to its alternative names (dnsNames of a cert-manager Certificate); a * stands for one label.",
    )


def _untrusted(error: ssl.SSLError) -> Fault:
    return Fault(
        "in tls.crt a certificate that ca.crt has signed, followed by those in between, and that holds now",
        _words(error),
        "Renew the certificate, or put the certificate of the authority that signed it into ca.crt.",
    )


def _unreadable(error: Exception) -> Fault:
    return Fault(
        "PEM in all of them, in tls.key the private key of tls.crt, without a passphrase",
        _words(error),
        "Make the Secret anew from files that belong together.",
    )


def _words(error: Exception) -> str:
    """OpenSSL's own reason, which names no content."""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else "what is no PEM"


def _server(data: Mapping[str, bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # OpenSSL reads keys from files only, and this one is to reach no disk.
    with _file(data["tls.crt"]) as chain, _file(data["tls.key"]) as key:
        # Without this a key with a passphrase would ask for it at the terminal.
        context.load_cert_chain(chain, key, password=lambda: "")
    return context


@contextmanager
def _file(text: bytes) -> Iterator[str]:
    """The path of a file in memory. Elsewhere than on Linux it is a pipe, with which OpenSSL tells errors less well."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("pem")
        os.write(descriptor, text)
    else:
        descriptor, writing = os.pipe()
        os.set_blocking(writing, False)
        os.write(writing, text)
        os.close(writing)
    try:
        yield f"/dev/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _client(data: Mapping[str, bytes]) -> ssl.SSLContext:
    # Between certificates there may be words in any language.
    context = ssl.create_default_context(cadata=data["ca.crt"].decode("ascii", "ignore"))
    # Python 3.13 has it set; the controller's Python is not that of the clients.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _refusal(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str:
    try:
        _greet(server, client, name)
    except ssl.SSLError as error:
        return _words(error)
    return ""


def _greet(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, Any]:
    """The certificate as the client has read it; raises ssl.SSLError when it refuses it."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    )
    for _turn in range(_TURNS):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return dict(sides[0].getpeercert() or {})
