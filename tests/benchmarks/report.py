# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From runs to figures: a table for the documentation, and what issue and design ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from .measure import Run
from .objects import KINDS

__all__ = ["Results", "Row", "Target", "grid"]

Cell = tuple[str, str, int]
OURS = "manifests"


@dataclass(frozen=True, slots=True)
class Row:
    """What one contender took for one size and scenario; `ratio` is ours to it, a median of pairs."""

    contender: str
    scenario: str
    size: int
    runs: int
    wall_min: float
    wall_median: float
    cpu_median: float
    memory: float
    requests: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Target:
    """One figure to reach: what it is, its value and its upper limit."""

    what: str
    value: float
    limit: float

    @property
    def reached(self) -> bool:
        return self.value <= self.limit


class Results:
    """Runs by contender, scenario and size; the runs of one position were made next to each other."""

    def __init__(self) -> None:
        self._runs: dict[Cell, list[Run]] = defaultdict(list)

    def add(self, contender: str, scenario: str, size: int, run: Run) -> None:
        self._runs[contender, scenario, size].append(run)

    def rows(self) -> list[Row]:
        return [self._row(cell, runs) for cell, runs in sorted(self._runs.items(), key=_order)]

    def _row(self, cell: Cell, runs: list[Run]) -> Row:
        contender, scenario, size = cell
        walls = [run.wall for run in runs]
        ours = [run.wall for run in self._runs[OURS, scenario, size]]
        return Row(
            contender,
            scenario,
            size,
            len(runs),
            min(walls),
            median(walls),
            median(run.cpu for run in runs),
            max(run.memory for run in runs),
            round(median(run.requests for run in runs)),
            median(mine / theirs for mine, theirs in zip(ours, walls, strict=False)),
        )

    def targets(self) -> list[Target]:
        """Those for which there were runs."""
        rows = {(row.contender, row.scenario, row.size): row for row in self.rows()}
        found = []
        # kubectl applies 100 objects in half of the time that a play with a task that does nothing takes.
        for other, size, limit in (
            ("kubernetes.core.k8s, one task", 100, 0.35),
            ("kubectl apply --server-side", 500, 1.0),
        ):
            if row := rows.get((other, "unchanged", size)):
                found.append(Target(f"{size} unchanged objects, wall time against {other}", row.ratio, limit))
        for (contender, scenario, size), row in rows.items():
            if (contender, scenario) == (OURS, "unchanged"):
                found.append(Target(f"{size} unchanged objects, requests", row.requests, len(KINDS) + 4))
        if slopes := _slopes(rows):
            unchanged, changed = slopes
            found.append(Target("a further unchanged object, ms", unchanged, 1.0))
            found.append(Target("a further changed object, ms", changed, 10.0))
        return found

    def table(self) -> str:
        """In reStructuredText."""
        heads = ["objects", "", "wall min", "median", "ratio", "CPU", "memory", "requests"]
        lines = [
            (
                f"{row.size} {row.scenario}",
                row.contender,
                f"{row.wall_min:.2f} s",
                f"{row.wall_median:.2f} s",
                f"{row.ratio:.2f}",
                f"{row.cpu_median:.2f} s",
                f"{row.memory:.0f} MiB",
                str(row.requests),
            )
            for row in self.rows()
        ]
        return grid(heads, lines)


def _order(item: tuple[Cell, list[Run]]) -> tuple[int, int]:
    (_contender, scenario, size), _runs = item
    # Within one scenario the contenders stay in the order in which they were first run.
    return size, ("unchanged", "10 % changed", "new").index(scenario)


def _slopes(rows: Mapping[Cell, Row]) -> tuple[float, float] | None:
    """Milliseconds per further object between the smallest and the largest size: unchanged, and changed on top."""
    sizes = sorted({size for contender, _scenario, size in rows if contender == OURS})
    if len(sizes) < 2:
        return None
    small, large = sizes[0], sizes[-1]

    def step(scenario: str) -> float:
        return rows[OURS, scenario, large].wall_min - rows[OURS, scenario, small].wall_min

    unchanged = step("unchanged")
    changed = step("10 % changed") - unchanged
    return unchanged * 1000 / (large - small), changed * 1000 / ((large - small) / 10)


def grid(heads: list[str], lines: Iterable[tuple[str, ...]]) -> str:
    """A table in reStructuredText."""
    cells = [tuple(heads), *lines]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    rule = " ".join("=" * max(width, 2) for width in widths)
    texts = [" ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    # An empty first cell would make a line the continuation of the one above; none is empty.
    return "\n".join([rule, texts[0], rule, *texts[1:], rule]) + "\n"
