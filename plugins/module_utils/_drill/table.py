# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Drills as lines that a person reads where they were held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import limit_of_gaps

__all__ = ["lines"]

Json = Mapping[str, Any]
TASKS = ("drill", "outcome", "rounds", "sent", "run", "lost", "run twice without a kill", "elsewhere")
WRITES = ("drill", "kind", "rounds", "gap p50", "p95", "max", "acknowledged", "lost", "reached a replica", "steady")


def lines(drills: Sequence[Json]) -> list[str]:
    """``drills`` as results.told returns them. A figure that is limited has its limit behind it."""
    rows: list[Sequence[str]] = [TASKS]
    written: list[Sequence[str]] = [WRITES]
    for drill in drills:
        counted = drill["outcome"] in ("passed", "failed")
        twice, elsewhere = drill["run_twice"] - drill["run_twice_killed"], drill["seconds_elsewhere"]
        rows.append(
            (
                drill["drill"],
                drill["outcome"],
                *(f"{figure}" for figure in (len(drill["rounds"]), drill["sent"], drill["run"])),
                _held(drill, "lost", drill["lost"] if counted else None),
                _held(drill, "run_twice", twice if counted else None),
                _held(drill, "elsewhere", elsewhere if counted else None, " s"),
            )
        )
        written += [_written(drill, line) for line in drill["writes"]]
    told = _aligned(rows)
    if len(written) > 1:
        told += ["", *_aligned(written)]
    waits = [drill["restart_backoff"] for drill in drills if drill["restart_backoff"] is not None]
    if waits:
        told += ["", f"Gaps hold the kubelets' wait before a restart: {max(waits):g} s at most."]
    problems = [f"{drill['drill']}: {problem}" for drill in drills for problem in _problems(drill)]
    return [*told, *(["", *problems] if problems else [])]


def _problems(drill: Json) -> list[str]:
    if drill["outcome"] == "stopped":
        return [drill["message"]]
    return list(drill["problems"])


def _written(drill: Json, line: Json) -> tuple[str, ...]:
    gap = line["gap"]
    commits = "commits_lost" if line["engine"] == "postgresql" else ""
    return (
        drill["drill"],
        f"{line['engine']} {line['kind']}",
        f"{line['rounds']}",
        _held(drill, "", gap.get("p50"), " s"),
        _held(drill, limit_of_gaps(drill, line["engine"]), gap.get("p95"), " s"),
        _held(drill, "", gap.get("max"), " s"),
        f"{line['acknowledged']}",
        _held(drill, commits, line["lost"]),
        f"{line['reached_a_replica']}",
        _held(drill, "replica_writes", line["reached_a_replica_steady"]),
    )


def _held(drill: Json, name: str, value: float | None, unit: str = "") -> str:
    limit = drill["budget"].get(name)
    shown = "-" if value is None else f"{value:.12g}{unit}"
    return shown if limit is None else f"{shown} (of {limit:g})"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
