# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A drill's timeline as a drawing in SVG. Its colours are the page's: see STYLE."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._markup import attribute, content

__all__ = ["STYLE", "chart"]

Json = Mapping[str, Any]
CURVES = ("sent", "run", "waiting")
# The drawing, and the place of the curves in it
WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 56, 744, 56, 272
# Labels closer than this cannot be read
ROOM = 14
TICKS_ACROSS, TICKS_UP = 10, 5

# Told apart by their dashes as well as by colour.
STYLE = """
:root { --sent: #0061a8; --run: #00795a; --waiting: #b84a00; --disturbance: #c0143c; --recovery: #5b3fb0;
  --gap: #c0143c }
@media (prefers-color-scheme: dark) {
  :root { --sent: #6db8f2; --run: #3fcf9f; --waiting: #f2a15c; --disturbance: #ff7a90; --recovery: #b9a3ff;
    --gap: #ff7a90 }
}
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; fill: currentColor }
svg path, svg line { fill: none; stroke: currentColor; stroke-width: 2 }
svg .grid { stroke-width: 1; opacity: .2 }
svg .sent { stroke: var(--sent); stroke-dasharray: 8 3 }
svg .run { stroke: var(--run) }
svg .waiting { stroke: var(--waiting); stroke-dasharray: 3 3 }
svg .disturbance { stroke: var(--disturbance) }
svg .recovery { stroke: var(--recovery); stroke-dasharray: 10 3 2 3 }
svg .gap { fill: var(--gap); opacity: .18 }
"""


def chart(title: str, disturbance: str, timeline: Json) -> str:
    """``disturbance``: what the marks of that kind are called. The timeline has samples, in the order of time."""
    samples, marks, gaps = timeline["samples"], timeline["marks"], timeline["gaps"]
    ends = [*(mark["seconds"] for mark in marks), *(gap["until"] for gap in gaps)]
    last: float = max([1.0, samples[-1]["seconds"], *ends])
    highest = max(1.0, *(sample[name] for sample in samples for name in CURVES))
    up = _step(highest, TICKS_UP, 1)
    most: float = up * math.ceil(highest / up)

    def x(seconds: float) -> float:
        return LEFT + (RIGHT - LEFT) * seconds / last

    def y(tasks: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * tasks / most

    names = {"disturbance": disturbance, "recovery": "recovery"}
    across = _step(last, TICKS_ACROSS, 0.1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f"aria-label={attribute(title)}>",
        *_legend([*((name, name) for name in CURVES), *names.items()], gaps="no writes" if gaps else ""),
    ]
    for gap in gaps:
        left, wide = x(gap["seconds"]), max(1.0, x(gap["until"]) - x(gap["seconds"]))
        hint = f"no write to {gap['engine']} in round {gap['round']}: {gap['seconds']:g} to {gap['until']:g} s"
        place = f'x="{left:.1f}" width="{wide:.1f}" y="{TOP}" height="{BOTTOM - TOP}"'
        lines.append(f'<rect class="gap" {place}><title>{content(hint)}</title></rect>')
    for number in range(round(most / up) + 1):
        at = y(number * up)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{number * up:g}</text>')
    for number in range(math.floor(last / across + 1e-6) + 1):
        lines.append(_middle(x(number * across), BOTTOM + 18, f"{number * across:g}"))
    lines.append(_middle((LEFT + RIGHT) / 2, HEIGHT - 8, "seconds since the first task was sent"))
    lines.append(_middle(14, (TOP + BOTTOM) / 2, "tasks", turned=True))
    lines += _marks(marks, names, x)
    for name in CURVES:
        points = [(x(sample["seconds"]), y(sample[name])) for sample in samples]
        lines.append(f'<path class="{name}" d="{_steps(points, x(last))}"/>')
    return "\n".join([*lines, "</svg>"])


def _legend(names: Sequence[tuple[str, str]], gaps: str) -> Iterator[str]:
    """A line for each; ``gaps``: what these are called, where there are any."""
    wide = (RIGHT - LEFT) // (len(names) + bool(gaps))
    if gaps:
        at = LEFT + len(names) * wide
        yield f'<rect class="gap" x="{at}" width="28" y="6" height="16"/>'
        yield f'<text x="{at + 34}" y="18">{content(gaps)}</text>'
    for number, (kind, name) in enumerate(names):
        at = LEFT + number * wide
        yield f'<line class="{kind}" x1="{at}" x2="{at + 28}" y1="14" y2="14"/>'
        yield f'<text x="{at + 34}" y="18">{content(name)}</text>'


def _marks(marks: Sequence[Json], names: Mapping[str, str], x: Callable[[float], float]) -> Iterator[str]:
    """A vertical line for each, with the number of its round where there is room for it."""
    free = 0.0
    for mark in sorted(marks, key=lambda mark: mark["seconds"]):
        at = x(mark["seconds"])
        hint = content(f"{names[mark['what']]} {mark['round']} at {mark['seconds']:g} s")
        place = f'x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{BOTTOM}"'
        yield f'<line class="{mark["what"]}" {place}><title>{hint}</title></line>'
        if at >= free:
            free = at + ROOM
            yield _middle(at, TOP - 14, f"{mark['round']}")


def _middle(x: float, y: float, text: str, *, turned: bool = False) -> str:
    turn = f' transform="rotate(-90 {x:g} {y:g})"' if turned else ""
    return f'<text x="{x:.1f}" y="{y:g}" text-anchor="middle"{turn}>{content(text)}</text>'


def _steps(points: Sequence[tuple[float, float]], end: float) -> str:
    """A count stays what it is until the next sample."""
    (left, height), *rest = points
    parts = [f"M{left:.1f} {height:.1f}"]
    for at, next_height in rest:
        if next_height != height:
            parts.append(f"H{at:.1f}V{next_height:.1f}")
            height = next_height
    return "".join([*parts, f"H{end:.1f}"])


def _step(most: float, ticks: int, least: float) -> float:
    """The smallest of 1, 2 and 5, times a power of ten, that reaches ``most`` with so many ticks."""
    power = 10.0 ** math.floor(math.log10(max(most / ticks, least)))
    return next((each * power for each in (1, 2, 5) if each * power * ticks >= most), 10 * power)
