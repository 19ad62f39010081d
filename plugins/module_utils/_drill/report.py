# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills as one page of HTML that needs nothing beside it: no script, no font, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.chart import STYLE, chart
from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import passed
from ansible_collections.celeryops.platform.plugins.module_utils._markup import attribute, content

__all__ = ["page"]

Json = Mapping[str, Any]
HEADINGS = (
    "drill",
    "outcome",
    "rounds",
    "sent",
    "run",
    "lost (allowed)",
    "run twice without a kill (allowed)",
    "seconds until run elsewhere (allowed)",
)

PAGE_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --line: #c8c8d0; --good: #00693e; --bad: #b00020 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6ea; --paper: #16161a; --line: #45454f; --good: #5fd39b; --bad: #ff8a99 }
}
body { margin: 2rem auto; max-width: 60rem; padding: 0 1rem; font: 16px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper) }
a { color: inherit }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: right }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2) { text-align: left }
.passed { color: var(--good); font-weight: bold }
.failed, .stopped, .over { color: var(--bad); font-weight: bold }
figure { margin: 1rem 0 }
figcaption { font-size: .9rem }
.said { overflow-wrap: anywhere }
"""


def page(title: str, drills: Sequence[Json]) -> str:
    """``drills`` as results.told returns them. The same drills are the same page: it holds no time of its own."""
    kept = sum(drill["outcome"] == "passed" for drill in drills)
    heading = content(f"Drills of {title}")
    said = f"{kept} of {len(drills)} kept their budget" if drills else "none was held"
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8"/>',
        # Whatever a name might hold, nothing on this page is run or fetched.
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>",
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>',
        f"<title>{heading}: {said}</title>",
        f"<style>{PAGE_STYLE}{STYLE}</style>",
        "</head>",
        "<body>",
        f"<h1>{heading}</h1>",
        f'<p class="{"passed" if passed(drills) else "failed"}">{said}</p>',
    ]
    if drills:
        lines += _table(drills)
    for number, drill in enumerate(drills, 1):
        lines += _section(number, drill)
    return "\n".join([*lines, "</body>", "</html>", ""])


def _table(drills: Sequence[Json]) -> Iterator[str]:
    yield '<div class="wide"><table>'
    headings = "".join(f'<th scope="col">{heading}</th>' for heading in HEADINGS)
    yield f"<thead><tr>{headings}</tr></thead>"
    yield "<tbody>"
    for number, drill in enumerate(drills, 1):
        cells = [
            f'<td><a href="#drill-{number}">{content(drill["drill"])}</a></td>',
            f"<td class={attribute(drill['outcome'])}>{content(drill['outcome'])}</td>",
            *(f"<td>{figure:g}</td>" for figure in (len(drill["rounds"]), drill["sent"], drill["run"])),
            *_limits(drill),
        ]
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _limits(drill: Json) -> Iterator[str]:
    """A cell for each part of the budget; what a drill that came to no end would have lost is not known."""
    counted = drill["outcome"] in ("passed", "failed")
    for name, value in (
        ("lost", drill["lost"]),
        ("run_twice", drill["run_twice"] - drill["run_twice_killed"]),
        ("elsewhere", drill["seconds_elsewhere"]),
    ):
        limit = drill["budget"].get(name)
        shown = f"{value:g}" if counted and value is not None else "-"
        over = counted and None not in (value, limit) and value > limit
        allowed = "" if limit is None else f" ({limit:g})"
        mark = ' class="over"' if over else ""
        yield f"<td{mark}>{shown}{allowed}</td>"


def _section(number: int, drill: Json) -> Iterator[str]:
    name = content(drill["drill"])
    yield f'<section id="drill-{number}">'
    yield f"<h2>{name}: <span class={attribute(drill['outcome'])}>{content(drill['outcome'])}</span></h2>"
    if drill["problems"]:
        yield f'<ul class="said">{"".join(f"<li>{content(problem)}</li>" for problem in drill["problems"])}</ul>'
    elif drill["message"]:
        yield f'<p class="said">{content(drill["message"])}</p>'
    if drill["timeline"]["samples"]:
        yield from _figure(drill)
    else:
        yield "<p>No task was sent.</p>"
    yield "</section>"


def _figure(drill: Json) -> Iterator[str]:
    kill = drill["drill"] == "worker_kill"
    disturbance = "kill" if kill else drill["drill"].replace("_", " ")
    recovery = "all that the victim ran was started elsewhere" if kill else "the Deployment was well again"
    yield "<figure>"
    yield chart(f"{drill['drill']}: tasks sent, run and waiting over time", disturbance, drill["timeline"])
    begun = f"Begun {drill['begun']}. " if drill["begun"] else ""
    yield f"<figcaption>{begun}Run: tasks that had ended. Waiting: tasks that nobody ran."
    yield f"Recovery: {recovery}.</figcaption>"
    yield "</figure>"
