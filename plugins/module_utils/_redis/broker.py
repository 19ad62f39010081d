# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where broker and results live: the wanted configuration, and what is wrong with the one found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import URL_KEYS, Goal
from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Survey, tally

__all__ = [
    "FIELD_MANAGER",
    "Fault",
    "Plan",
    "make_plan",
    "owners_of",
    "redacted",
    "scheme_of",
    "target_of",
]

FIELD_MANAGER = "celeryops-redis-master"


@dataclass(frozen=True)
class Fault:
    """One key whose value is not the wanted one, and why that matters."""

    key: str
    found: str | None
    reason: str

    def __str__(self) -> str:
        found = "was not set" if self.found is None else f"was {redacted(self.found)}"
        return f"{self.key} {found}: {self.reason}"


@dataclass(frozen=True)
class Plan:
    """The wanted data and what differs. ``owners`` are the managers, other than ours, that hold a key of ours."""

    wanted: Mapping[str, str]
    found: Mapping[str, str]
    faults: tuple[Fault, ...] = ()
    unowned: tuple[str, ...] = ()
    owners: Mapping[str, tuple[str, ...]] | None = None

    @property
    def needed(self) -> bool:
        return bool(self.faults or self.unowned)

    @property
    def problems(self) -> list[str]:
        """Each fault as a sentence, with the manager that wrote the value where the API server knows it."""
        owners = self.owners or {}
        sentences = []
        for fault in self.faults:
            by = ", ".join(owners.get(fault.key, ()))
            sentences.append(f"{fault}{f' (written by {by})' if by else ''}")
        held = [key for key in self.unowned if key not in {fault.key for fault in self.faults}]
        return sentences + [f"{key} is right but was not held by {FIELD_MANAGER}" for key in held]

    @property
    def diff(self) -> dict[str, dict[str, str]]:
        before = {key: redacted(value) for key, value in self.found.items()}
        return {"before": before, "after": dict(self.wanted) if self.needed else before}


def redacted(url: str) -> str:
    """The URL without its user and password, even where the password holds what should have been escaped."""
    return re.sub(r"//.*@", "//(credentials)@", url)


def target_of(url: str | None, scheme: str = "redis") -> Target | None:
    """Where a client would connect, or nothing when the text is no URL of Redis with this ``scheme``."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if parts.scheme != scheme or not parts.hostname or (database and not database.isdigit()):
            return None
        return Target(parts.hostname, parts.port or 6379, int(database or 0))
    except ValueError:
        return None


def _reason(url: str | None, goal: Goal, answers: Sequence[Answer], survey: Survey) -> str:
    """Why a URL that is not the wanted one is wrong, by what its target answered before what it looks like."""
    if url is None:
        return "clients would fall back to a default of their own"
    if "@" in url:
        return "credentials do not belong in a ConfigMap: pods compose them from the Secret"
    target = target_of(url, scheme_of(goal.url))
    if target is None:
        return f"it is not a URL of the form {_form(goal.url)}"
    seen = tally(answers, survey.pods)
    if answers and not seen["writable"]:
        return _answer_fault(seen)
    return _name_fault(target, goal, survey)


def scheme_of(url: str) -> str:
    """The scheme that leads to a server itself: with TLS where the URL says so."""
    return "rediss" if "ssl_cert_reqs=" in url else "redis"


def _form(url: str) -> str:
    scheme = url.partition(":")[0]
    form = f"{scheme}://host:port/database"
    return f"{form};{form};..." if scheme == "sentinel" else form


def _answer_fault(seen: Mapping[str, Any]) -> str:
    total, roles = seen["connections"], seen["answers"]
    if roles["none"] == total:
        fault = f"none of {total} new connections was answered"
    elif roles["replica"] == total:
        fault = f"all {total} new connections reached a replica"
    elif roles["replica"]:
        fault = f"it balances: {roles['replica']} of {total} new connections reached a replica"
    else:
        fault = "a write was refused"
    return f"{fault} ({'; '.join(seen['errors'])})"


def _name_fault(target: Target, goal: Goal, survey: Survey) -> str:
    """What is wrong with a target whose every connection may write."""
    if target.database != goal.target.database:
        return f"database {target.database} is not the wanted {goal.target.database}"
    behind = next((s for s in survey.services if s.host == target.host or s.host.startswith(f"{target.host}.")), None)
    if behind and not survey.writable(behind):
        return f"Service {behind.name} selects replicas too, though no connection of this sample reached one"
    return "it reaches the master now, but is not the name that always does"


def make_plan(
    goal: Goal,
    found: Mapping[str, str],
    answers: Mapping[str, Sequence[Answer]],
    survey: Survey,
    owners: Mapping[str, tuple[str, ...]],
) -> Plan:
    """Compares the keys. ``answers`` are those of each URL found, ``owners`` the managers that hold each key."""
    wanted, faults = goal.data, []
    for key, value in wanted.items():
        current = found.get(key)
        if current == value:
            continue
        if key in URL_KEYS:
            reason = _reason(current, goal, answers.get(current or "", ()), survey)
        else:
            reason = f"it is to be {value}"
        faults.append(Fault(key, current, reason))
    return Plan(
        wanted=wanted,
        found={key: found[key] for key in wanted if key in found},
        faults=tuple(faults),
        unowned=tuple(key for key in wanted if FIELD_MANAGER not in owners.get(key, ())),
        owners={key: tuple(o for o in held if o != FIELD_MANAGER) for key, held in owners.items()},
    )


def owners_of(metadata: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Which managers hold each key of a ConfigMap's data, from metadata.managedFields."""
    owners: dict[str, tuple[str, ...]] = {}
    for entry in metadata.get("managedFields") or ():
        fields = (entry.get("fieldsV1") or {}).get("f:data") or {}
        for field in fields:
            if field.startswith("f:"):
                owners[field[2:]] = (*owners.get(field[2:], ()), str(entry.get("manager", "")))
    return owners
