# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SCRAM secrets: the known one of RFC 7677's keys, and what must not match."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._postgres.scram import make_secret, matches

# RFC 7677, section 3: user "user", password "pencil", this salt, 4096 iterations.
RFC_SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")


def test_the_form_is_postgresqls() -> None:
    method, rest = make_secret("pencil", salt=RFC_SALT).split("$", 1)
    parameters, keys = rest.split("$")
    assert method == "SCRAM-SHA-256"
    assert parameters == "4096:W22ZaJ0SNY7soEsUEjb6gQ=="
    assert [len(base64.b64decode(key)) for key in keys.split(":")] == [32, 32]


def test_the_server_key_signs_as_in_the_rfc() -> None:
    server_key = base64.b64decode(make_secret("pencil", salt=RFC_SALT).rsplit(":", 1)[1])
    message = (
        "n=user,r=rOprNGfwEbeRWgbNEkqO,"
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(server_key, message.encode(), hashlib.sha256)
    assert base64.b64encode(signature).decode() == "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_two_secrets_of_one_password_differ_and_both_match() -> None:
    first, second = make_secret("s3cret"), make_secret("s3cret")
    assert first != second
    assert matches(first, "s3cret")
    assert matches(second, "s3cret")


@pytest.mark.parametrize(
    "stored",
    [
        None,
        "",
        "md5d41d8cd98f00b204e9800998ecf8427e",
        "SCRAM-SHA-256$4096:not base64$x:y",
        make_secret("other"),
        make_secret("s3cret") + "x",
    ],
)
def test_anything_else_does_not_match(stored: str | None) -> None:
    assert not matches(stored, "s3cret")


def test_equivalent_unicode_is_one_password() -> None:
    # SASLprep: a soft hyphen is dropped, a no-break space is a space, the Roman numeral nine is IX.
    assert matches(make_secret("I\u00adX\u00a0y"), "IX y")
    assert matches(make_secret("\u2168"), "IX")


def test_what_saslprep_refuses_is_taken_as_it_is() -> None:
    mixed = "\u0627a"  # right-to-left and left-to-right together
    assert matches(make_secret(mixed), mixed)
    assert not matches(make_secret(mixed), "a")
