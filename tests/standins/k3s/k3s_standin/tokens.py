# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k3s's tokens: ``K10<sha256 of the CA's PEM>::<user>:<password>``, or the password alone."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

__all__ = ["Token", "TokenError", "ca_hash", "parse_token"]

_PREFIX = "K10"
_HASH_LENGTH = hashlib.sha256().digest_size * 2


class TokenError(Exception):
    """A token that k3s refuses, in its words."""


@dataclass(frozen=True)
class Token:
    """A parsed token; ``ca`` is empty in the short form, and so is ``user``."""

    password: str
    user: str = ""
    ca: str = ""

    def full(self, ca: str, user: str = "server") -> str:
        """The secure form for a cluster whose CA has that hash."""
        return f"{_PREFIX}{ca}::{self.user or user}:{self.password}"

    @property
    def key(self) -> str:
        """Where bootstrap data of this token lies in the datastore; tells tokens apart without holding them."""
        return f"/bootstrap/{hashlib.sha256(self.password.encode()).hexdigest()[:12]}"

    def check_ca(self, pem: bytes) -> None:
        """Raise TokenError unless the token was made for a cluster with this CA."""
        if self.ca and self.ca != ca_hash(pem):
            raise TokenError(
                f"token CA hash does not match the Cluster CA certificate hash: {self.ca} != {ca_hash(pem)}"
            )

    def allows(self, user: str, password: str, users: tuple[str, ...]) -> bool:
        """Whether somebody who says these credentials may act as one of `users`; an empty name is the token's own."""
        return (user or "server") in users and hmac.compare_digest(password.encode(), self.password.encode())


def ca_hash(pem: bytes) -> str:
    """SHA256 of the certificate as it is stored: what k3s takes for a self-signed CA."""
    return hashlib.sha256(pem).hexdigest()


def parse_token(text: str) -> Token:
    """Raises TokenError where k3s does."""
    if not text:
        raise TokenError("token must not be empty")
    if not text.startswith(_PREFIX):
        return Token(text)
    digest, separator, credentials = text[len(_PREFIX) :].partition("::")
    if not separator:
        digest, credentials = "", digest
    if digest and len(digest) != _HASH_LENGTH:
        raise TokenError("invalid token CA hash length")
    user, colon, password = credentials.partition(":")
    if not colon or not password:
        raise TokenError("invalid token format")
    return Token(password, user, digest)
