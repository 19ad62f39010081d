# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Secret is to hold, how values are made, and whether those there will do. Pure but for the random source."""

from __future__ import annotations

import base64
import binascii
import secrets
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["KeySpec", "SecretSpec", "make_value", "parse_secrets", "problem_with"]

_ALPHABETS = {
    "alphanumeric": string.ascii_letters + string.digits,
    "hex": "0123456789abcdef",
    "urlsafe": string.ascii_letters + string.digits + "-_",
}
_FERNET_BYTES = 32
_DEFAULT_LENGTH = 32
_KEY_OPTIONS = ("length", "charset", "min_length", "value", "accepted")
_SECRET_OPTIONS = ("name", "labels", "annotations", "type", "data")


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key. `value` is given for what is no secret (a user's name); otherwise the value is made.

    `accepted` are values that are as good as `value` when they are there already.
    """

    name: str
    length: int = _DEFAULT_LENGTH
    charset: str = "alphanumeric"
    min_length: int = 1
    value: str | None = None
    accepted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SecretSpec:
    """One Secret and its keys."""

    name: str
    keys: tuple[KeySpec, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    kind: str = "Opaque"


def parse_secrets(entries: Iterable[Mapping[str, Any]]) -> list[SecretSpec]:
    """The option `secrets`; raises CeleryOpsError that names everything wrong with it at once."""
    problems: list[str] = []
    specs = [_secret(entry, problems.append) for entry in entries]
    names = [spec.name for spec in specs]
    problems += [f"Secret {name} is declared more than once" for name in sorted(set(names)) if names.count(name) > 1]
    if problems:
        raise CeleryOpsError(
            "the declared Secrets are not valid",
            expected="names, each once, and keys with length, charset and min_length, or with value",
            found="; ".join(problems),
            remedy="correct the option `secrets`; nothing was written",
        )
    return specs


def _secret(entry: Mapping[str, Any], problem: Callable[[str], None]) -> SecretSpec:
    name = str(entry.get("name") or "")
    where = f"Secret {name}" if name else "a Secret"
    if not name:
        problem("a Secret has no name")
    for option in sorted(set(entry) - set(_SECRET_OPTIONS)):
        problem(f"{where} has no option {option}")
    data = entry.get("data")
    if not isinstance(data, Mapping) or not data:
        problem(f"{where} declares no keys in data")
        data = {}
    keys = tuple(_key(f"{where}, key {key}", str(key), options, problem) for key, options in data.items())
    texts = {
        option: {str(key): str(value) for key, value in (entry.get(option) or {}).items()}
        for option in ("labels", "annotations")
    }
    return SecretSpec(name, keys, texts["labels"], texts["annotations"], str(entry.get("type") or "Opaque"))


def _key(where: str, name: str, options: Any, problem: Callable[[str], None]) -> KeySpec:
    if options is None:
        options = {}
    if not isinstance(options, Mapping):
        problem(f"{where}: a mapping of options is expected")
        return KeySpec(name)
    for option in sorted(set(options) - set(_KEY_OPTIONS)):
        problem(f"{where} has no option {option}")
    if options.get("value") is not None:
        for option in ("length", "charset", "min_length"):
            if option in options:
                problem(f"{where}: {option} does not go with value")
        if not str(options["value"]):
            problem(f"{where}: value is empty")
        return KeySpec(name, value=str(options["value"]), accepted=tuple(map(str, options.get("accepted") or ())))
    if "accepted" in options:
        problem(f"{where}: accepted goes with value only")
    charset = str(options.get("charset") or "alphanumeric")
    if charset not in _ALPHABETS and charset != "fernet":
        problem(f"{where}: charset {charset} is none of {', '.join([*_ALPHABETS, 'fernet'])}")
    length = _number(where, "length", options.get("length", _DEFAULT_LENGTH), problem)
    least = _number(where, "min_length", options.get("min_length", 1), problem)
    if charset == "fernet" and "length" in options:
        problem(f"{where}: length does not go with charset fernet")
    elif charset != "fernet" and length < least:
        problem(f"{where}: length is less than min_length")
    return KeySpec(name, length, charset, least)


def _number(where: str, option: str, given: Any, problem: Callable[[str], None]) -> int:
    try:
        number = int(given)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        problem(f"{where}: {option} is no number of 1 or more")
    return max(1, number)


def make_value(spec: KeySpec) -> str:
    """A new value from the operating system's random source."""
    if spec.value is not None:
        return spec.value
    if spec.charset == "fernet":
        return base64.urlsafe_b64encode(secrets.token_bytes(_FERNET_BYTES)).decode()
    alphabet = _ALPHABETS[spec.charset]
    return "".join(secrets.choice(alphabet) for _number in range(spec.length))


def problem_with(spec: KeySpec, present: bytes) -> str | None:
    """Why a value that is there will not do, without telling it; None when it will."""
    if spec.value is not None:
        good = [value.encode() for value in (spec.value, *spec.accepted)]
        return None if present in good else "holds another value than the one declared"
    if len(present) < spec.min_length:
        return f"has {len(present)} characters, at least {spec.min_length} are needed"
    if spec.charset == "fernet" and not _is_fernet(present):
        return "is no Fernet key (32 bytes in URL-safe base64)"
    return None


def _is_fernet(present: bytes) -> bool:
    try:
        return len(base64.urlsafe_b64decode(present)) == _FERNET_BYTES
    except (binascii.Error, ValueError):
        return False
