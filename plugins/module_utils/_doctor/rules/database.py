# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The database as Django meets it: whether it answers, and whether beat's tables are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Unseen,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Pod

__all__ = ["RULES"]

_MIGRATE = "run site.yml with --tags app (module beat_migrations), or manage.py migrate in a pod of the image"
_OURS = r"(?i:psycopg|operationalerror|connection to server|connection failed|database|postgres).*"


@dataclass(frozen=True)
class _Saying:
    """What a database answers, or a log repeats. `lasting`: it hurts pods that are ready as well."""

    cause: str
    title: str
    said: str
    log: str
    remedy: str
    lasting: bool = False


_SAYINGS = (
    _Saying(
        "database-connections",
        "The database takes no more connections",
        r"remaining connection slots|too many clients|no more connections allowed|too many connections",
        r"remaining connection slots|too many clients|no more connections allowed|too many connections for",
        "go through the pooler (namespace_database.host: the -pooler Service), lower celery_worker_replicas or "
        "celery_worker_concurrency, or raise max_connections; pg_stat_activity names who holds most",
        lasting=True,
    ),
    _Saying(
        "database-login",
        "The database does not let the application in",
        r"authentication failed|(role|database) \"[^\"]+\" does not exist|pg_hba|no such (user|database)",
        r"password authentication failed|role \"[^\"]+\" does not exist|FATAL: +database \"[^\"]+\" does not exist"
        r"|no pg_hba|no such (user|database)",
        "run site.yml with --tags postgresql: role, database and the Secret of credentials are made to agree; "
        "celery_app_database_secret names the Secret",
    ),
    _Saying(
        "database-down",
        "The database does not answer",
        r".",
        _OURS + r"(refused|could not translate|failed to resolve|not known|timeout expired|timed out|No route"
        r"|is (starting up|shutting down|not yet accepting)|closed the connection|cannot be reached"
        r"|login has been failing)",
        "see that PostgreSQL and its pooler run (kubectl get pods,endpointslices; "
        "celeryops.platform.postgresql_cluster_info), "
        "and that DATABASE_HOST and DATABASE_PORT name them: site.yml with --tags namespace,postgresql",
    ),
)
_MISSING = (
    r"relation \"django_celery_beat_\w+\" does not exist|no such table: django_celery_beat"
    r"|no table \S*django_celery_beat"
)
_PARTIAL = r"column \"?django_celery_beat_\w+\.\w+\"? does not exist|no such column: django_celery_beat"
_PREPARED = (
    r"prepared statement \"[^\"]+\" (already exists|does not exist)|InvalidCursorName|cursor \"[^\"]+\" does not exist"
)
_READ_ONLY = r"(cannot execute|in a) .*read-only transaction"


def sayings(seen: Snapshot) -> Iterator[Verdict]:
    answers = list(seen.visited("database"))
    fine = _fine(answers)
    taken: set[int] = set()
    for one in _SAYINGS:
        told = [
            (place, visit, str(answer["error"]))
            for place, (visit, answer) in enumerate(answers)
            if answer.get("error") and place not in taken and re.search(one.said, str(answer["error"]))
        ]
        taken |= {place for place, _visit, _error in told}
        candidates = seen.pods("worker", "beat") if one.lasting else seen.started("worker", "beat")
        pods, lines = quotes(candidates, one.log)
        if told or pods:
            affected = [pod for pod in pods if pod.troubled]
            yield Finding(
                one.cause,
                one.title + (f", says {names(pods)}" if not told else ""),
                Stage.DATABASE,
                Confidence.CERTAIN if told else Confidence.POSSIBLE if fine else Confidence.LIKELY,
                (
                    *(Evidence(f"Django in pod/{visit['pod']}", trimmed(error)) for _place, visit, error in told[:2]),
                    *lines[:2],
                ),
                one.remedy,
                explained(affected or (pods if one.lasting else ())),
                # What a client is told now says more than a line of before.
                consequence=not told and any(answer.get("error") for _visit, answer in answers),
            )
        elif fine:
            yield RuledOut(one.cause, fine)
        elif answers:
            yield RuledOut(one.cause, "Django met something else")
        else:
            yield Unseen(one.cause, seen.gap("database") or "no container runs in which Django could ask the database")


def _fine(answers: list[tuple[Any, Any]]) -> str:
    good = [(visit, answer) for visit, answer in answers if not answer.get("error")]
    if not good or len(good) < len(answers):
        return ""
    visit, answer = good[0]
    return f"{answer.get('vendor') or 'the database'} answered Django in pod/{visit['pod']}"


def beat_tables(seen: Snapshot) -> Iterator[Verdict]:
    """None at all, or those of an older version."""
    looked = [(visit, answer) for visit, answer in seen.visited("database") if answer.get("beat") is not None]
    for cause, title, pattern, found in (
        (
            "beat-tables-missing",
            "The database has no tables of django-celery-beat",
            _MISSING,
            [(visit, answer) for visit, answer in looked if _all_gone(answer["beat"])],
        ),
        (
            "beat-tables-partial",
            "The tables of django-celery-beat are those of an older version",
            _PARTIAL,
            [
                (visit, answer)
                for visit, answer in looked
                if answer["beat"]["pending"] and not _all_gone(answer["beat"])
            ],
        ),
    ):
        pods, lines = quotes(seen.started("worker", "beat"), pattern)
        if found or pods:
            yield _tables_finding(seen, cause, title, found, pods, lines)
        elif looked:
            count = looked[0][1]["beat"]["applied"]
            yield RuledOut(
                cause, f"all {count} migrations of django_celery_beat are applied, says pod/{looked[0][0]['pod']}"
            )
        else:
            yield Unseen(cause, seen.gap("database") or "no container runs in which Django could look at the tables")


def _all_gone(beat: Any) -> bool:
    """Never migrated, or migrated and dropped: the record of migrations does not show that."""
    return bool(beat["missing"]) and not (beat["applied"] and beat["pending"])


def _tables_finding(
    seen: Snapshot,
    cause: str,
    title: str,
    found: list[tuple[Any, Any]],
    pods: tuple[Pod, ...],
    lines: tuple[Evidence, ...],
) -> Finding:
    told = []
    for visit, answer in found[:1]:
        beat = answer["beat"]
        lack = beat["missing"] or beat["pending"]
        word = "no table" if beat["missing"] else "not applied"
        told.append(
            Evidence(
                f"the catalogue, read in pod/{visit['pod']}", trimmed(f"{word} {', '.join(lack[:4])} (of {len(lack)})")
            )
        )
    # Beat dies of it; workers live.
    affected = tuple(dict.fromkeys((*pods, *(seen.started("beat") if found else ()))))
    return Finding(
        cause,
        title,
        Stage.DATABASE,
        Confidence.CERTAIN if found else Confidence.LIKELY,
        (*told, *lines),
        _MIGRATE,
        explained(affected),
    )


def pooler(seen: Snapshot) -> Iterator[Verdict]:
    cause = "pooler-prepared-statements"
    pods, lines = quotes(seen.pods("worker", "beat"), _PREPARED)
    if not pods:
        yield RuledOut(cause, "no log tells of a prepared statement or cursor that another session has")
        return
    yield Finding(
        cause,
        "The pooler hands out sessions by transaction, and the application keeps statements or cursors in them",
        Stage.DATABASE,
        Confidence.LIKELY,
        lines,
        "in DATABASES: DISABLE_SERVER_SIDE_CURSORS=True, OPTIONS without server_side_binding and with "
        "prepare_threshold=None; or pool_mode=session in PgBouncer",
        explained(pods),
    )


def read_only(seen: Snapshot) -> Iterator[Verdict]:
    """Sessions that only read: those of a replica, and those that somebody's setting keeps from writing."""
    cause = "database-read-only"
    looked = [(visit, answer) for visit, answer in seen.visited("database") if not answer.get("error")]
    found = [(visit, answer["read_only"]) for visit, answer in looked if answer.get("read_only")]
    pods, lines = quotes(seen.pods("worker", "beat"), _READ_ONLY)
    if not found and not pods:
        if looked:
            yield RuledOut(cause, f"Django's session in pod/{looked[0][0]['pod']} may write")
        else:
            yield Unseen(cause, seen.gap("database") or "no container runs in which Django could ask the database")
        return
    replica = any(why == "recovery" for _visit, why in found)
    name = "pg_is_in_recovery()" if replica else "transaction_read_only"
    yield Finding(
        cause,
        "Sessions of the database lead to a replica, which takes no writes"
        if replica
        else "Sessions of the database are read-only",
        Stage.DATABASE,
        # Of a pooler's sessions some may be the primary's: that the one asked may write clears no other.
        Confidence.CERTAIN if found else Confidence.LIKELY,
        (*(Evidence(f"Django in pod/{visit['pod']}", f"{name} is true") for visit, _why in found[:2]), *lines[:2]),
        "DATABASE_HOST has to lead to the primary: the -pooler Service does, and site.yml with --tags postgresql puts "
        "its sessions right; where SELECT pg_is_in_recovery() says false, somebody set default_transaction_read_only: "
        "ALTER ROLE NAME RESET default_transaction_read_only, and the same of ALTER DATABASE",
        explained(pods),
    )


def locks(seen: Snapshot) -> Iterator[Verdict]:
    """Sessions that have waited for another one's lock for long."""
    cause = "database-locks"
    looked = [(visit, answer) for visit, answer in seen.visited("database") if answer.get("waiting") is not None]
    waiting = [(visit, one) for visit, answer in looked for one in answer["waiting"]]
    if waiting:
        _visit, one = waiting[0]
        yield Finding(
            cause,
            f"{len(waiting)} sessions of the database wait for locks that others hold",
            Stage.DATABASE,
            Confidence.LIKELY,
            tuple(
                Evidence(
                    f"pg_stat_activity, read in pod/{visit['pod']}",
                    trimmed("session {pid} waits {seconds:.0f} s for session {blocked_by}: {query}".format(**one)),
                )
                for visit, one in waiting[:3]
            ),
            f"SELECT pg_terminate_backend({one['blocked_by']}) ends the one that holds it; a transaction that is idle "
            f"is a "
            "task that hangs within it",
        )
    elif looked:
        yield RuledOut(cause, "no session waits for a lock")
    else:
        yield Unseen(cause, seen.gap("database") or "no container runs in which Django could ask the database")


RULES: tuple[Rule, ...] = (sayings, read_only, beat_tables, pooler, locks)
