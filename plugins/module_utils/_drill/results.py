# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of celery_drill, as a loop registers them, reduced to what a report tells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import FAILOVER, IN_PLACE
from ansible_collections.celeryops.platform.plugins.module_utils._drill.timeline import nothing
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["limit_of_gaps", "passed", "told"]

Json = dict[str, Any]
COUNTS = ("sent", "run", "run_twice", "run_twice_killed", "lost")
SAMPLE = ("seconds", "sent", "run", "waiting")
MARKS = ("disturbance", "recovery")
ENGINES = ("redis", "postgresql")
WRITES = ("rounds", "acknowledged", "lost", "reached_a_replica", "reached_a_replica_steady")
GAP = ("p50", "p95", "max")


def told(results: Sequence[Mapping[str, Any]]) -> list[Json]:
    """One dictionary for each drill, of one shape even where the module ended without a result of its own.

    Raises CeleryOpsError for what did not come from the module. Nothing else of a result is taken over: its arguments
    may hold what a report must not.
    """
    return [_told(number, result) for number, result in enumerate(results, 1)]


def passed(drills: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there were drills, and each kept its budget."""
    return bool(drills) and all(drill["outcome"] == "passed" for drill in drills)


def limit_of_gaps(drill: Mapping[str, Any], engine: str) -> str:
    """The name of the limit that the gaps of an engine are held to."""
    return "node_gap" if "node_gap" in drill["budget"] else f"{engine}_gap"


def _told(number: int, result: Mapping[str, Any]) -> Json:
    try:
        course = _timeline(result.get("timeline") or nothing())
        return {
            "drill": str(result.get("drill") or f"drill {number}"),
            "outcome": _outcome(result),
            "begun": None if course["begin"] is None else _moment(course["begin"]),
            **{name: int(_figure(result.get(name, 0))) for name in COUNTS},
            "seconds_elsewhere": _optional(result.get("seconds_elsewhere")),
            "budget": {str(name): _figure(limit) for name, limit in (result.get("budget") or {}).items()},
            "problems": [str(problem) for problem in result.get("problems") or []],
            "message": str(result.get("msg") or ""),
            "rounds": list(result.get("rounds") or []),
            "writes": [_written(line) for line in result.get("writes") or []],
            "restart_backoff": _optional(result.get("restart_backoff")),
            "timeline": course,
        }
    except (AttributeError, KeyError, OSError, OverflowError, TypeError, ValueError) as problem:
        raise CeleryOpsError(
            f"drill {number} cannot be reported",
            expected="a result of celery_drill as it was registered",
            found=f"{type(problem).__name__}: {problem}",
            remedy="hand over the results of the loop over celery_drill, and nothing else",
        ) from problem


def _outcome(result: Mapping[str, Any]) -> str:
    """``stopped`` came to no end, so that nothing is known of its budget; ``not held`` is what check mode leaves."""
    if result.get("passed") is None:
        return "stopped" if result.get("failed") else "not held"
    return "passed" if result["passed"] is True else "failed"


def _timeline(given: Mapping[str, Any]) -> Json:
    samples = [{name: _figure(sample[name]) for name in SAMPLE} for sample in given["samples"]]
    times = [sample["seconds"] for sample in samples]
    if times != sorted(times):
        raise ValueError("samples that are not in the order of time")
    return {
        "begin": _optional(given["begin"]),
        "samples": samples,
        "marks": [_mark(mark) for mark in given["marks"]],
        "gaps": [_gap(gap) for gap in given.get("gaps") or []],
    }


def _mark(given: Mapping[str, Any]) -> Json:
    if given["what"] not in MARKS:
        raise ValueError(f"a mark for {given['what']!r}")
    # A node's clock, which tells a kill, may be behind that of Redis.
    return {"round": int(_figure(given["round"])), "what": given["what"], "seconds": max(0, _finite(given["seconds"]))}


def _gap(given: Mapping[str, Any]) -> Json:
    begin, end = max(0, _finite(given["seconds"])), max(0, _finite(given["until"]))
    if end < begin:
        raise ValueError(f"a gap that ends at {end} and begins at {begin}")
    return {"round": int(_figure(given["round"])), "engine": _engine(given), "seconds": begin, "until": end}


def _written(given: Mapping[str, Any]) -> Json:
    if given["kind"] not in (IN_PLACE, FAILOVER):
        raise ValueError(f"writes through {given['kind']!r}")
    gap = {name: _figure(given["gap"][name]) for name in GAP} if given["gap"] else {}
    return {
        "engine": _engine(given),
        "kind": given["kind"],
        **{name: int(_figure(given[name])) for name in WRITES},
        "gap": gap,
    }


def _engine(given: Mapping[str, Any]) -> str:
    if given["engine"] not in ENGINES:
        raise ValueError(f"an engine {given['engine']!r}")
    return str(given["engine"])


def _moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _optional(value: Any) -> float | None:
    return None if value is None else _figure(value)


def _figure(value: Any) -> float:
    if _finite(value) < 0:
        raise ValueError(f"{value} is below 0")
    return _finite(value)


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no figure")
    return value
