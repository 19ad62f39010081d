# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any text as part of an XML or HTML document."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

__all__ = ["attribute", "content"]

# XML 1.0 has no way to write these.
_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def content(value: str) -> str:
    """The text of an element."""
    return escape(_UNWRITABLE.sub("?", value))


def attribute(value: str) -> str:
    """The value of an attribute, with its quotes."""
    return quoteattr(_UNWRITABLE.sub("?", value))
