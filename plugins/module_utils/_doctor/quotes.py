# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Quoting: which container said a thing, in its own words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import Evidence
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Container, Pod

__all__ = ["explained", "names", "quote", "quotes", "trimmed"]

_LONGEST = 300
# Enough to believe it; more is repetition.
_MOST = 3


def trimmed(text: str) -> str:
    """One line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def quote(container: Container, pattern: str, over: str | None = None) -> Evidence | None:
    """The last line of a container that matches.

    With ``over`` the newest run comes first, and nothing counts that is older than a line that matches it.
    """
    wanted, past = re.compile(pattern), re.compile(over) if over else None
    sources = list(container.sources())
    for source, lines in reversed(sources) if past else sources:
        for line in reversed(lines):
            if wanted.search(line):
                return Evidence(source, trimmed(line))
            if past and past.search(line):
                return None
    return None


def quotes(pods: Iterable[Pod], pattern: str, over: str | None = None) -> tuple[tuple[Pod, ...], tuple[Evidence, ...]]:
    """The pods that said something that matches, and what the first few of them said."""
    said = []
    for pod in pods:
        found = next((one for one in (quote(container, pattern, over) for container in pod.containers) if one), None)
        if found is not None:
            said.append((pod, found))
    return tuple(pod for pod, _line in said), tuple(line for _pod, line in said[:_MOST])


def explained(pods: Iterable[Pod]) -> tuple[str, ...]:
    return tuple(pod.subject for pod in pods)


def names(pods: Iterable[Pod]) -> str:
    """The first few pods, and how many more."""
    found = [pod.name for pod in pods]
    return ", ".join(found[:_MOST]) + (f" and {len(found) - _MOST} more" if len(found) > _MOST else "")
