# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the application reads as it starts: missing variables, keys, the Sentry DSN, modules."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.model import (
    Confidence,
    Evidence,
    Finding,
    Rule,
    RuledOut,
    Stage,
    Verdict,
)
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.quotes import explained, names, quotes, trimmed
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.snapshot import Snapshot
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.variables import environment
from ansible_collections.celeryops.platform.plugins.module_utils._doctor.views import Pod

__all__ = ["RULES"]

# Celery asks the settings for one of these first, and hides with it what went wrong when they were imported.
_MASKED = r"'Settings' object has no attribute '[a-z_]+'"
_KEY_ERROR = r"KeyError: ['\"]?([A-Z][A-Z0-9_]+)"
_UNSET = r"\b([A-Z][A-Z0-9_]{2,}) (?:is (?:not set|empty|missing|required)|must be set|environment variable)"
_REFUSED = r"ImproperlyConfigured"
_KEYS = r"(DJANGO_)?SECRET_KEY|(FIELD_|FERNET_|DATA_)?ENCRYPTION_KEY|FERNET_KEY"
_BAD_DSN = r"BadDsn|Unsupported scheme|Missing public key|Invalid project in DSN"
# Django's numbers of checks, as in (models.E028)
_CHECK = r"\(\w+\.[EC]\d+\)"
_IMPORT = r"\b(ModuleNotFoundError|ImportError): "


def sentry_dsn(seen: Snapshot) -> Iterator[Verdict]:
    cause = "sentry-dsn"
    pods, evidence = quotes(seen.started("worker", "beat"), _BAD_DSN)
    bad = [
        Evidence(one.source, f"{one.name} has {one.shape['length']} characters: {one.shape['dsn']}")
        for workload in seen.celery
        for one in environment(seen, workload).values()
        if one.name == "SENTRY_DSN" and one.shape["dsn"]
    ]
    if not bad and not pods:
        yield RuledOut(cause, "SENTRY_DSN is empty, unset or well-formed for every workload")
        return
    yield Finding(
        cause,
        f"SENTRY_DSN is not a DSN: {names(pods)} ends before its banner"
        if pods
        else "SENTRY_DSN is not a DSN: errors are reported to nobody",
        Stage.SETTINGS,
        Confidence.CERTAIN if pods and bad else Confidence.LIKELY,
        (*dict.fromkeys(bad), *evidence)[:4],
        'set namespace_sentry_dsn: "" (empty switches Sentry off) or to the DSN of a project, and run site.yml with '
        "--tags namespace,celery",
        explained(pods),
    )


def settings_key(seen: Snapshot) -> Iterator[Verdict]:
    """A variable that the settings want and do not get."""
    cause = "settings-key"
    told = [
        (visit, str(answer["error"]))
        for visit, answer in seen.visited("settings")
        if answer.get("error") and not re.search(_KEYS, str(answer["error"]))
    ]
    pods, evidence = quotes(_ended(seen), f"{_KEY_ERROR}|{_UNSET}|{_REFUSED}")
    pods, evidence = _without_keys(pods, evidence)
    masked, hidden = quotes(_ended(seen), _MASKED)
    if not (told or pods or masked):
        yield RuledOut(cause, "no log has a KeyError, ImproperlyConfigured or Celery's masks for them")
        return
    inside = tuple(Evidence(f"the settings, imported in pod/{visit['pod']}", trimmed(said)) for visit, said in told[:2])
    name = _named((*inside, *evidence))
    affected = tuple(dict.fromkeys((*pods, *masked)))
    yield Finding(
        cause,
        f"The settings want {name}, which {names(affected) or 'the application'} does not get"
        if name
        else f"The settings of {names(affected)} cannot be imported; Celery hides why",
        Stage.SETTINGS,
        Confidence.CERTAIN if inside else Confidence.LIKELY,
        (*inside, *evidence, *hidden, *_lacking(seen, affected))[:4],
        f"add {name} to namespace_config, or to the Secret or env that the pods get (celery_app_secrets, "
        f"celery_app_env)"
        if name
        else _look(seen, affected),
        explained(affected),
    )


def _ended(seen: Snapshot) -> list[Pod]:
    return [pod for pod in seen.started("worker", "beat") if not pod.ready]


def _without_keys(
    pods: tuple[Pod, ...], evidence: tuple[Evidence, ...]
) -> tuple[tuple[Pod, ...], tuple[Evidence, ...]]:
    """Leaves out what tells of nothing but secret keys, which have rules of their own."""
    kept = tuple(one for one in evidence if _named((one,)) or not re.search(_KEYS, one.text))
    return (pods, kept) if kept else ((), ())


def _named(evidence: tuple[Evidence, ...]) -> str:
    for one in evidence:
        for pattern in (_KEY_ERROR, _UNSET):
            for match in re.finditer(pattern, one.text):
                if not re.fullmatch(_KEYS, match[1]):
                    return match[1]
    return ""


def _lacking(seen: Snapshot, pods: tuple[Pod, ...]) -> Iterator[Evidence]:
    """Variables that another workload of the same image has."""
    by_name = {one.name: one for one in seen.celery}
    for name in dict.fromkeys(pod.workload for pod in pods):
        mine = by_name[name]
        for other in seen.celery:
            if other.name == name or other.container.get("image") != mine.container.get("image"):
                continue
            lacking = sorted(set(environment(seen, other)) - set(environment(seen, mine)))
            if lacking:
                yield Evidence(
                    f"environment of {mine.subject}", f"lacks, beside {other.subject}: {', '.join(lacking[:6])}"
                )


def _look(seen: Snapshot, pods: tuple[Pod, ...]) -> str:
    pod = pods[0]
    workload = next(one for one in seen.celery if one.name == pod.workload)
    variable = environment(seen, workload).get("DJANGO_SETTINGS_MODULE")
    module = (variable.value if variable else None) or f"{workload.option('-A', '--app') or 'APP'}.settings"
    return (
        f"kubectl -n {seen.namespace} debug pod/{pod.name} --copy-to=settings-look --container={pod.main.name} -it -- "
        f"python -c 'import {module}' shows the real error; then add the variable to namespace_config or a Secret"
    )


@dataclass(frozen=True)
class _Key:
    """A kind of key: the variables that hold one, what logs say of a bad one, and how another one is made."""

    cause: str
    title: str
    variable: str
    said: str
    shortest: int
    wanted: str
    make: str
    warning: str


_DJANGO = _Key(
    "secret-key",
    "Django's secret key",
    r"(DJANGO_)?SECRET_KEY",
    r"SECRET_KEY\b.*?(is not set|is empty|must not be empty|characters)",
    50,
    "at least 50 are needed",
    "openssl rand -base64 48",
    "sessions and signed links that were made with the old one end",
)
_FIELDS = _Key(
    "encryption-key",
    "The key that encrypts fields",
    r"(FIELD_|FERNET_|DATA_)?ENCRYPTION_KEY|FERNET_KEY",
    r"(ENCRYPTION|FERNET)_KEY\b.*?(is not set|is empty|is not a Fernet key)|Fernet key must be 32",
    32,
    "44 are needed: 32 bytes in URL-safe base64",
    "openssl rand -base64 32 | tr +/ -_",
    "what another key has encrypted can be read with that one only: put it back where there is a copy",
)


def secret_key(seen: Snapshot) -> Iterator[Verdict]:
    yield _judge(seen, _DJANGO)


def encryption_key(seen: Snapshot) -> Iterator[Verdict]:
    yield _judge(seen, _FIELDS)


def _judge(seen: Snapshot, kind: _Key) -> Verdict:
    pods, evidence = quotes(_ended(seen), kind.said)
    held = [
        one
        for workload in seen.celery
        for one in environment(seen, workload).values()
        if re.fullmatch(kind.variable, one.name)
    ]
    short = {(one.name, one.source): one for one in held if one.shape["length"] < kind.shortest}
    if not short and not pods:
        known = ", ".join(sorted({f"{one.name} has {one.shape['length']} characters" for one in held}))
        return RuledOut(kind.cause, known or "no variable of such a name, and no log that tells of one")
    shown = next(iter(short.values()), None) or (held[0] if held else None)
    variable = shown.name if shown else "KEY"
    secret = next((word for word in re.findall(r"Secret ([^ ,]+)", shown.source)), "NAME") if shown else "NAME"
    return Finding(
        kind.cause,
        f"{kind.title} is missing, too short or of a wrong form" + (f": {names(pods)} does not start" if pods else ""),
        Stage.SETTINGS,
        Confidence.CERTAIN if short else Confidence.LIKELY,
        (
            *(
                Evidence(one.source, f"{one.name} has {one.shape['length']} characters: {kind.wanted}")
                for one in short.values()
            ),
            *evidence,
        )[:4],
        f"kubectl -n {seen.namespace} patch secret {secret} --type=merge -p "
        f'"{{\\"stringData\\":{{\\"{variable}\\":\\"$({kind.make})\\"}}}}", then restart the pods ({kind.warning})',
        explained(pods),
    )


def system_check(seen: Snapshot) -> Iterator[Verdict]:
    """Django's system checks refuse the settings: the application says itself what is wrong."""
    cause = "system-check"
    pods, evidence = _without_keys(*quotes(_ended(seen), _CHECK))
    if not pods:
        yield RuledOut(cause, "no log of a container that ended tells of a system check of Django's")
        return
    _pods, hints = quotes(pods, r"^\s*HINT: ")
    yield Finding(
        cause,
        f"The application's own checks refuse its settings: {names(pods)} does not start",
        Stage.SETTINGS,
        Confidence.LIKELY,
        (*evidence, *hints)[:4],
        "do what the HINT says; manage.py check repeats it. Settings come from namespace_config, celery_app_env and "
        "the image",
        explained(pods),
    )


def import_error(seen: Snapshot) -> Iterator[Verdict]:
    cause = "import-error"
    pods, evidence = quotes(_ended(seen), _IMPORT)
    if not pods:
        yield RuledOut(cause, "no log tells of a module that cannot be imported")
        return
    yield Finding(
        cause,
        f"{names(pods)} lacks a module that the application imports",
        Stage.SETTINGS,
        Confidence.LIKELY,
        evidence,
        "build the image with what is missing, or correct celery_app_name, PYTHONPATH (celery_pod_python_path) or the "
        "working directory",
        explained(pods),
    )


RULES: tuple[Rule, ...] = (sentry_dsn, settings_key, secret_key, encryption_key, system_check, import_error)
