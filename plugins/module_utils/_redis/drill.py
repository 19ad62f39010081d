# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client of Redis saw of a failure: how long it could not write, and what became of what was acknowledged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import Round

__all__ = ["round_of"]


def round_of(victim: str, masters: tuple[str, str], since: float, answer: Mapping[str, Any]) -> Round:
    """From the client's answer. ``masters``: before and after. ``since``: when nothing disturbed it yet."""
    acknowledged = [(int(number), float(at)) for number, at in answer["acknowledged"]]
    errors = [(float(at), str(words)) for at, words in answer["errors"]]
    before = [at for _number, at in acknowledged if at <= since]
    # What was on its way is still answered after a kill: the gap is the longest silence from then on.
    times = [before[-1] if before else since, *(at for _number, at in acknowledged if at > since)]
    silences = [(end - start, start, end) for start, end in pairwise(times)]
    gap, begin, end = max(silences) if silences else (None, times[0], math.inf)
    refused = [at for at, words in errors if words.startswith("READONLY")]
    kept = set(answer["kept"])
    return Round(
        engine="redis",
        victim=victim,
        before=masters[0],
        after=masters[1],
        gap=None if gap is None else round(gap, 3),
        began=None if gap is None else begin,
        ended=None if gap is None else end,
        acknowledged=len(acknowledged),
        lost=sum(1 for number, _at in acknowledged if number not in kept),
        replica=len(refused),
        replica_steady=sum(1 for at in refused if not begin <= at <= end),
        errors=dict(Counter(words.split(" ", 1)[0].rstrip(":") for _at, words in errors)),
    )
