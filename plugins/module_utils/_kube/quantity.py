# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubernetes quantities: 0.5 is 500m, 1Gi is 1024Mi. Pure."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = ["format_quantity", "parse_quantity"]

_PATTERN = re.compile(r"([+-]?[0-9.]+)([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
_POWERS = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL = {suffix: Decimal(10) ** power for suffix, power in _POWERS.items()}
_BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_FACTORS = {**_DECIMAL, **_BINARY}


def parse_quantity(value: object) -> Decimal | None:
    """The number that a quantity stands for; None for what is no quantity."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    match = _PATTERN.fullmatch(str(value).strip())
    if match is None or match[1].count(".") > 1 or not match[1].strip("+-."):
        return None
    suffix = match[2] or ""
    if suffix[:1] in ("e", "E") and suffix[1:]:
        return Decimal(match[1] + suffix)
    return Decimal(match[1]) * _FACTORS.get(suffix, Decimal(1))


def format_quantity(number: Decimal, resource: str = "") -> str:
    """A short text for a number, in binary units where `resource` counts bytes."""
    if any(word in resource for word in ("memory", "storage", "hugepages")) and number == number.to_integral_value():
        for suffix, factor in reversed(_BINARY.items()):
            if number and number % factor == 0:
                return f"{int(number / factor)}{suffix}"
    if number == number.to_integral_value():
        return str(int(number))
    return f"{(number * 1000).normalize():f}m"
