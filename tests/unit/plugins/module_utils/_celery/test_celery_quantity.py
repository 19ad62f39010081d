# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from decimal import Decimal

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._celery.quantity import parse_quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("400m", "0.4"),
        (2, "2"),
        (0.5, "0.5"),
        ("1Gi", "1073741824"),
        ("1G", "1000000000"),
        ("128974848", "128974848"),
        ("129e6", "129000000"),
        ("1k", "1000"),
        ("1Ki", "1024"),
        ("5n", "0.000000005"),
    ],
)
def test_value(text: str | float, value: str) -> None:
    assert parse_quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "m", "1i", "1mi", "1 Gi", "ten", "1K", "nan"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        parse_quantity(text)
