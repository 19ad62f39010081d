# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declarations of Secrets, and values made from them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._secrets.values import (
    KeySpec,
    make_value,
    parse_secrets,
    problem_with,
)


@given(st.integers(1, 200), st.sampled_from(["alphanumeric", "hex", "urlsafe"]))
def test_values_have_length_and_charset(length: int, charset: str) -> None:
    value = make_value(KeySpec("k", length, charset))
    assert len(value) == length
    allowed = {"hex": "0123456789abcdef", "urlsafe": "-_"}.get(charset, "")
    assert all(one in allowed or (charset != "hex" and one.isascii() and one.isalnum()) for one in value)
    assert problem_with(KeySpec("k", length, charset, min_length=length), value.encode()) is None
    assert problem_with(KeySpec("k", length + 1, charset, min_length=length + 1), value.encode())


def test_fernet_keys_are_32_bytes() -> None:
    spec = KeySpec("k", charset="fernet")
    value = make_value(spec)
    assert len(base64.urlsafe_b64decode(value)) == 32
    assert problem_with(spec, value.encode()) is None
    assert problem_with(spec, value[:-1].encode())
    assert problem_with(spec, b"short")


def test_no_two_values_are_equal() -> None:
    assert len({make_value(KeySpec("k")) for _ in range(100)}) == 100


def test_accepted_values_are_left_as_they_are() -> None:
    (spec,) = parse_secrets([{"name": "s", "data": {"user": {"value": "app", "accepted": ["app_alt"]}}}])
    (key,) = spec.keys
    assert make_value(key) == "app"
    assert problem_with(key, b"app_alt") is None
    assert problem_with(key, b"root") == "holds another value than the one declared"
    with pytest.raises(CeleryOpsError, match="accepted goes with value only"):
        parse_secrets([{"name": "s", "data": {"user": {"accepted": ["app_alt"]}}}])


def test_given_values_have_to_match() -> None:
    spec = KeySpec("k", value="app")
    assert make_value(spec) == "app"
    assert problem_with(spec, b"app") is None
    assert problem_with(spec, b"root") == "holds another value than the one declared"


def test_defaults() -> None:
    (spec,) = parse_secrets([{"name": "s", "data": {"a": {}, "b": None, "c": {"value": "x"}}}])
    assert [key.length for key in spec.keys[:2]] == [32, 32]
    assert (spec.kind, spec.keys[2].value) == ("Opaque", "x")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"name": "s", "data": {}}, "declares no keys"),
        ({"data": {"a": {}}}, "has no name"),
        ({"name": "s", "data": {"a": {}}, "rotate": True}, "no option rotate"),
        ({"name": "s", "data": {"a": {"length": "x"}}}, "length is no number"),
        ({"name": "s", "data": {"a": {"min_length": 33}}}, "length is less than min_length"),
        ({"name": "s", "data": {"a": {"charset": "fernet", "length": 5}}}, "does not go with charset fernet"),
        ({"name": "s", "data": {"a": {"value": ""}}}, "value is empty"),
    ],
)
def test_mistakes(entry: dict[str, object], told: str) -> None:
    with pytest.raises(CeleryOpsError, match=told):
        parse_secrets([entry])
