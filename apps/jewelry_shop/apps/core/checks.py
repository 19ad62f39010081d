"""System checks for what Django would run with in silence. `manage.py check` and every start show them."""

import os
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from config.sentry import dsn_problem


@register
def logging_hides_nothing(**_: Any) -> list[CheckMessage]:
    """Celery's loggers exist before Django configures logging."""
    if settings.LOGGING.get("disable_existing_loggers", True):
        return [
            Error(
                "LOGGING disables existing loggers: a worker or beat that fails would exit without a word",
                hint="set disable_existing_loggers to False",
                id="shop.E001",
            )
        ]
    return []


@register
def database_suits_the_pooler(**_: Any) -> list[CheckMessage]:
    """PgBouncer in transaction mode hands every transaction another session."""
    database = settings.DATABASES["default"]
    options = database["OPTIONS"]
    fits = database.get("DISABLE_SERVER_SIDE_CURSORS") and options.get("prepare_threshold") is None
    if fits and not options.get("server_side_binding"):
        return []
    return [
        Error(
            "DATABASES['default'] keeps state in a session, which the pooler does not",
            hint="DISABLE_SERVER_SIDE_CURSORS True, server_side_binding False, prepare_threshold None",
            id="shop.E002",
        )
    ]


@register
def sentry_dsn_is_valid(**_: Any) -> list[CheckMessage]:
    """An unusable DSN is ignored at the start, which should not go unnoticed."""
    problem = dsn_problem(settings.SENTRY_DSN)
    hint = "leave SENTRY_DSN empty to run without Sentry"
    return [Warning(f"SENTRY_DSN is not a valid DSN: {problem}", hint=hint, id="shop.W001")] if problem else []


@register
def directories_are_writable(**_: Any) -> list[CheckMessage]:
    """Tasks make their directories themselves, so the nearest existing parent counts."""
    found: list[CheckMessage] = []
    for name in ("BACKUP_DIR", "REPORT_DIR", "OUTBOX_DIR"):
        path = Path(getattr(settings, name))
        existing = next(parent for parent in (path, *path.parents) if parent.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            text = f"{name} {path} cannot be written by UID {os.getuid()}: {existing} refuses"
            found.append(Warning(text, hint="mount a writable volume or set DATA_DIR", id="shop.W002"))
    return found
