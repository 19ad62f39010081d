# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks of the scheduler: one acts, it ticks, what it sends runs, and its entries are the declared ones."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.base import (
    Check,
    Expectation,
    Observation,
    unasked,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.checks.workloads import absent, running
from ansible_collections.celeryops.platform.plugins.module_utils._celery.election import (
    acting,
    lease_of,
    standing,
    take_turns,
)
from ansible_collections.celeryops.platform.plugins.module_utils._celery.inside import newest_run

__all__ = ["beat_running", "beat_sends", "beat_ticks", "schedule_as_declared"]

Json = dict[str, Any]


def beat_running(expected: Expectation, seen: Observation) -> Check:
    if seen.beat is None:
        return absent("beat running", [expected.beat])
    check = running([seen.beat], seen.beat_pods, "beat running")
    if lease_of(seen.beat) is not None:
        one = acting(seen.beat_lease, seen.beat_pods)
        evidence = f"{check.evidence}; {standing(seen.beat_lease, seen.beat_pods)}"
        why = f"kubectl -n {expected.namespace} logs deployment/{expected.beat}: it says why the Lease is not to be had"
        return Check(check.name, bool(check.passed) and one is not None, evidence, check.remedy if one else why)
    several = int(seen.beat["spec"].get("replicas", 1)) > 1
    if check.passed and several and not take_turns(seen.beat["spec"]["template"]["spec"]["containers"][0]):
        why = "schedulers that elect nobody act all at once: set celery_beat_replicas, or replicas to 1"
        return Check(check.name, False, check.evidence, why)
    return check


def beat_sends(expected: Expectation, seen: Observation) -> Check:
    name = "beat's tasks run"
    if seen.answers is None or seen.answers.get("entries") is None:
        problem = seen.problem or (seen.answers or {}).get("entries_problem") or "the schedule was not read"
        return Check(name, False, str(problem), "the tables of django_celery_beat: run site.yml with --tags celery")
    now = seen.answers["time"]
    newest = newest_run(seen.answers, expected.lag)
    if newest is not None:
        entry, run = newest
        return Check(
            name,
            True,
            f"{entry['name']!r} ({run['task']}) ran {now - run['finished']:.0f} s ago, last run recorded "
            f"{now - entry['last_run']:.0f} s ago, run {entry['runs']}, due every {entry['interval']:.0f} s",
        )
    entries = seen.answers["entries"]
    ran = sorted({n for probe in seen.answers["workers"]["probes"].values() for n in probe["beat"]})
    advanced = sum(1 for entry in entries if entry["last_run"])
    return Check(
        name,
        False,
        f"{len(entries)} enabled entries, {advanced} with a last run; tasks from beat that workers ran: "
        f"{', '.join(ran) or 'none'}",
        f"kubectl -n {expected.namespace} logs deployment/{expected.beat}: last runs without tasks mean "
        "that beat cannot publish (wrong broker), neither means that it does not tick",
    )


def beat_ticks(expected: Expectation, seen: Observation) -> Check:
    """The scheduler has loaded the schedule and works through it. What it sends may still be lost: see the next."""
    name = "beat ticks"
    if seen.answers is None:
        return unasked(name, seen)
    entries = seen.answers.get("entries")
    if entries is None:
        problem = seen.answers.get("entries_problem") or "the schedule was not read"
        return Check(name, False, str(problem), "the tables of django_celery_beat: run site.yml with --tags celery")
    now = seen.answers["time"]
    ran = [entry for entry in entries if entry["last_run"] and entry["interval"]]
    late = sorted((now - entry["last_run"] - entry["interval"], entry["name"]) for entry in ran)
    remedy = f"kubectl -n {expected.namespace} logs deployment/{expected.beat}: it hangs, or has not read its schedule"
    if not late:
        return Check(name, None if entries else False, f"none of {len(entries)} enabled entries was due yet", remedy)
    # A beat that runs touches its most frequent entry within that entry's interval.
    overdue, entry_name = late[0]
    return Check(
        name,
        overdue <= expected.lag,
        f"{len(entries)} enabled entries; {entry_name!r} is "
        + (f"{overdue:.0f} s overdue" if overdue > expected.lag else "on time"),
        remedy,
    )


def schedule_as_declared(expected: Expectation, seen: Observation) -> Check:
    name = "schedule as declared"
    if not expected.schedule:
        return Check(name, None, "no schedule to compare with was given")
    if seen.answers is None or seen.answers.get("entries") is None:
        return unasked(name, seen)
    found = {entry["name"]: entry for entry in seen.answers["entries"]}
    declared = [entry for entry in expected.schedule if entry.get("enabled", True)]
    problems = []
    for entry in declared:
        live = found.get(entry["name"])
        if live is None:
            problems.append(f"{entry['name']!r} is missing or disabled")
            continue
        for key in ("task", "queue", "cron"):
            wanted = entry.get(key)
            if wanted is not None and _plain(wanted) != _plain(live.get(key)):
                problems.append(f"{entry['name']!r}: {key} is {live.get(key)} instead of {wanted}")
    return Check(
        name,
        not problems,
        "; ".join(problems[:4]) + (f" and {len(problems) - 4} more" if len(problems) > 4 else "")
        or f"{len(declared)} entries as declared, {len(found) - len(declared)} beside them",
        "run site.yml with --tags app: beat_schedule reconciles the entries",
    )


def _plain(value: Any) -> str:
    return " ".join(str(value).split())
