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

from ansible_collections.celeryops.platform.plugins.module_utils._redis.probe import Answer, Target
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Survey, tally

__all__ = [
    "FIELD_MANAGER",
    "URL_KEYS",
    "Fault",
    "Plan",
    "make_plan",
    "owners_of",
    "redacted",
    "target_of",
    "wanted_data",
]

FIELD_MANAGER = "celeryops-redis-master"
URL_KEYS = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND")


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


def wanted_data(host: str, port: int, database: int) -> dict[str, str]:
    """All keys that follow from where the master is. No credentials: pods compose them from a Secret."""
    url = f"redis://{host}:{port}/{database}"
    return {"REDIS_HOST": host, "REDIS_PORT": str(port), **dict.fromkeys(URL_KEYS, url)}


def target_of(url: str | None) -> Target | None:
    """Where a client would connect, or nothing when the text is no Redis URL."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
        database = parts.path.strip("/")
        if parts.scheme != "redis" or not parts.hostname or (database and not database.isdigit()):
            return None
        return Target(parts.hostname, parts.port or 6379, int(database or 0))
    except ValueError:
        return None


def _reason(url: str | None, wanted: Target, answers: Sequence[Answer], survey: Survey) -> str:
    """Why a URL that is not the wanted one is wrong, by what its target answered before what it looks like."""
    target = target_of(url)
    if url is None or target is None:
        return _text_fault(url)
    if "@" in urlsplit(url).netloc:
        return "credentials do not belong in a ConfigMap: pods compose them from the Secret"
    seen = tally(answers, survey.pods)
    if answers and not seen["writable"]:
        return _answer_fault(seen)
    return _name_fault(target, wanted, survey)


def _text_fault(url: str | None) -> str:
    if url is None:
        return "clients would fall back to a default of their own"
    return "it is not a URL of the form redis://host:port/database"


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


def _name_fault(target: Target, wanted: Target, survey: Survey) -> str:
    """What is wrong with a target whose every connection may write."""
    if target.database != wanted.database:
        return f"database {target.database} is not the wanted {wanted.database}"
    behind = next((s for s in survey.services if s.host == target.host or s.host.startswith(f"{target.host}.")), None)
    if behind and not survey.writable(behind):
        return f"Service {behind.name} selects replicas too, though no connection of this sample reached one"
    return "it reaches the master now, but is not the name that always does"


def make_plan(
    wanted: Mapping[str, str],
    found: Mapping[str, str],
    answers: Mapping[str, Sequence[Answer]],
    survey: Survey,
    owners: Mapping[str, tuple[str, ...]],
) -> Plan:
    """Compares the keys. ``answers`` are those of each URL found, ``owners`` the managers that hold each key."""
    goal = target_of(wanted[URL_KEYS[0]])
    if goal is None:
        raise AssertionError(f"wanted_data makes URLs, not {wanted[URL_KEYS[0]]!r}")
    faults = []
    for key, value in wanted.items():
        current = found.get(key)
        if current == value:
            continue
        if key in URL_KEYS:
            reason = _reason(current, goal, answers.get(current or "", ()), survey)
        else:
            reason = f"the master is {value}" if key == "REDIS_HOST" else f"the port is {value}"
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
