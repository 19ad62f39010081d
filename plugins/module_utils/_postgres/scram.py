# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM-SHA-256 secrets as PostgreSQL stores them in pg_authid.rolpassword.

Computing them here means that no clear password reaches the server or its log, and that a stored secret can
be compared with a password without signing in. Source: RFC 5802 and PostgreSQL's src/common/scram-common.c.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import stringprep
import unicodedata

__all__ = ["make_secret", "matches"]

# PostgreSQL's own defaults.
ITERATIONS = 4096
SALT_BYTES = 16

_SECRET = re.compile(r"SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)")

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def _normalized(password: str) -> bytes:
    """SASLprep (RFC 4013); what it refuses is used as it is, which is what PostgreSQL and libpq do."""
    if password.isascii():
        return password.encode()
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in password if not stringprep.in_table_b1(char)
    )
    result = unicodedata.normalize("NFKC", mapped)
    right_to_left = [stringprep.in_table_d1(char) for char in result]
    mixed = any(right_to_left) and (
        any(map(stringprep.in_table_d2, result)) or not (right_to_left[0] and right_to_left[-1])
    )
    if not result or mixed or any(table(char) for char in result for table in _PROHIBITED):
        return password.encode()
    return result.encode()


def make_secret(password: str, *, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """The text that PostgreSQL stores for a password; salted at random unless a salt is given."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", _normalized(password), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    texts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${iterations}:{texts[0]}${texts[1]}:{texts[2]}"


def matches(stored: str | None, password: str) -> bool:
    """Whether a stored secret was made from this password. No secret, an MD5 one or a damaged one is not."""
    found = _SECRET.fullmatch(stored or "")
    if not found:
        return False
    try:
        salt = base64.b64decode(found.group(2), validate=True)
    except binascii.Error:
        return False
    return hmac.compare_digest(make_secret(password, salt=salt, iterations=int(found.group(1))), stored or "")
