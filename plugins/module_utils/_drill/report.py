# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills as one page of HTML that needs nothing beside it: no script, no font, no other file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.chart import STYLE, chart
from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import limit_of_gaps, passed
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

OF_WRITES = (
    "drill",
    "engine",
    "kind",
    "rounds",
    "gap p50",
    "gap p95 (allowed)",
    "gap max",
    "acknowledged",
    "lost (allowed)",
    "reached a replica",
    "in steady state (allowed)",
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
        lines += _table(HEADINGS, _tasks(drills))
    if any(drill["writes"] for drill in drills):
        lines.append("<h2>Writes through failures, gaps in seconds</h2>")
        lines += _table(OF_WRITES, _writes(drills))
    for number, drill in enumerate(drills, 1):
        lines += _section(number, drill)
    return "\n".join([*lines, "</body>", "</html>", ""])


def _table(headings: Sequence[str], rows: Iterable[str]) -> Iterator[str]:
    yield '<div class="wide"><table>'
    cells = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    yield f"<thead><tr>{cells}</tr></thead>"
    yield "<tbody>"
    yield from (f"<tr>{row}</tr>" for row in rows)
    yield "</tbody></table></div>"


def _tasks(drills: Sequence[Json]) -> Iterator[str]:
    for number, drill in enumerate(drills, 1):
        # What a drill that came to no end would have lost is not known.
        counted = drill["outcome"] in ("passed", "failed")
        yield "".join(
            [
                f'<td><a href="#drill-{number}">{content(drill["drill"])}</a></td>',
                f"<td class={attribute(drill['outcome'])}>{content(drill['outcome'])}</td>",
                *(f"<td>{figure:g}</td>" for figure in (len(drill["rounds"]), drill["sent"], drill["run"])),
                _held("lost", drill["lost"] if counted else None, drill),
                _held("run_twice", drill["run_twice"] - drill["run_twice_killed"] if counted else None, drill),
                _held("elsewhere", drill["seconds_elsewhere"] if counted else None, drill),
            ]
        )


def _writes(drills: Sequence[Json]) -> Iterator[str]:
    for number, drill in enumerate(drills, 1):
        for line in drill["writes"]:
            gap = line["gap"]
            commits = "commits_lost" if line["engine"] == "postgresql" else ""
            yield "".join(
                [
                    f'<td><a href="#drill-{number}">{content(drill["drill"])}</a></td>',
                    *(f"<td>{content(str(line[name]))}</td>" for name in ("engine", "kind", "rounds")),
                    _held("", gap.get("p50"), drill),
                    _held(limit_of_gaps(drill, line["engine"]), gap.get("p95"), drill),
                    _held("", gap.get("max"), drill),
                    _held("", line["acknowledged"], drill),
                    _held(commits, line["lost"], drill),
                    _held("", line["reached_a_replica"], drill),
                    _held("replica_writes", line["reached_a_replica_steady"], drill),
                ]
            )


def _held(name: str, value: float | None, drill: Json) -> str:
    """A cell with a figure, against the limit of that name where the drill is held to it."""
    limit = drill["budget"].get(name)
    over = value is not None and limit is not None and value > limit
    shown = "-" if value is None else f"{value:.12g}"
    mark = ' class="over"' if over else ""
    allowed = "" if limit is None else f" ({limit:g})"
    return f"<td{mark}>{shown}{allowed}</td>"


def _section(number: int, drill: Json) -> Iterator[str]:
    name = content(drill["drill"])
    yield f'<section id="drill-{number}">'
    yield f"<h2>{name}: <span class={attribute(drill['outcome'])}>{content(drill['outcome'])}</span></h2>"
    if drill["problems"]:
        yield f'<ul class="said">{"".join(f"<li>{content(problem)}</li>" for problem in drill["problems"])}</ul>'
    elif drill["message"]:
        yield f'<p class="said">{content(drill["message"])}</p>'
    if drill["restart_backoff"] is not None:
        yield f"<p>Gaps hold the kubelets' wait before a restart: {drill['restart_backoff']:g} s at most.</p>"
    if drill["timeline"]["samples"]:
        yield from _figure(drill)
    else:
        yield "<p>No task was sent.</p>"
    yield "</section>"


def _figure(drill: Json) -> Iterator[str]:
    kill = drill["drill"] == "worker_kill"
    disturbance = "kill" if kill else drill["drill"].replace("_", " ")
    recovery = "all that the victim ran was started elsewhere" if kill else "all was well again"
    yield "<figure>"
    yield chart(f"{drill['drill']}: tasks sent, run and waiting over time", disturbance, drill["timeline"])
    begun = f"Begun {drill['begun']}. " if drill["begun"] else ""
    yield f"<figcaption>{begun}Run: tasks that had ended. Waiting: tasks that nobody ran."
    gaps = " No writes: between the last good write to Redis or PostgreSQL and the first that lasts."
    yield f"Recovery: {recovery}.{gaps if drill['timeline']['gaps'] else ''}</figcaption>"
    yield "</figure>"
