# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the programs that run inside the application's image have in common.

The files of this folder are shipped to a pod as text and import nothing but the standard library, the
application's own Django and Celery, and each other. Any Python from 3.9 on.
"""

# Django and Celery are the pod's: they are imported where they are used.
# ruff: noqa: PLC0415

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote

__all__ = ["MARK", "Refused", "load_celery", "load_django", "run"]

# Applications print when they are imported. The answer is the line that starts with this.
MARK = "CELERYOPS-ANSWER "
SECRET_NAME = re.compile(r"PASS|SECRET|KEY|TOKEN|DSN|CREDENTIAL", re.IGNORECASE)
URL_PASSWORD = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")


class Refused(Exception):
    """A failure to be told: ``kind`` is for the program, the rest for the person."""

    def __init__(
        self,
        message: str,
        kind: str = "failed",
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.answer = {
            "kind": kind,
            "message": message,
            "expected": expected,
            "found": found,
            "remedy": remedy,
            "details": details,
        }


def run(program: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> None:
    """Calls the program and prints its answer; what it did not foresee is an answer as well."""
    try:
        answer = {"result": program(request)}
    except Refused as refusal:
        answer = {"error": _without_secrets(refusal.answer)}
    except Exception as problem:
        import traceback

        where = traceback.extract_tb(problem.__traceback__)[-1]
        told = Refused(
            "The program in the application's image failed",
            found=f"{type(problem).__name__}: {problem} ({where.filename}:{where.lineno})",
        )
        answer = {"error": _without_secrets(told.answer)}
    sys.stdout.write(f"\n{MARK}{json.dumps(answer)}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    # An application may have left threads behind that would hold the exit up.
    os._exit(0)


def load_django(app_name: str | None) -> None:
    """Sets Django up with the settings that the environment or the Celery application names."""
    try:
        import django

        if "DJANGO_SETTINGS_MODULE" not in os.environ and app_name:
            load_celery(app_name)
        # Imported here first: an error in it would else be masked by whoever touches the settings.
        importlib.import_module(os.environ.get("DJANGO_SETTINGS_MODULE", ""))
        django.setup()
    except Refused:
        raise
    except Exception as problem:
        raise Refused(
            "The application cannot be set up",
            kind="settings",
            expected="an importable settings module in DJANGO_SETTINGS_MODULE, and installed apps that load",
            found=f"{type(problem).__name__}: {problem}",
            remedy="Complete the ConfigMaps, Secrets and env that the pod gets, or correct the application.",
        ) from problem


def load_celery(app_name: str) -> Any:
    """The Celery application, as ``celery -A`` finds it."""
    from celery.app.utils import find_app

    try:
        return find_app(app_name)
    except Exception as problem:
        raise Refused(
            f"The Celery application {app_name!r} cannot be loaded",
            kind="settings",
            expected="what celery -A takes",
            found=f"{type(problem).__name__}: {problem}",
            remedy="Correct the name, or the image.",
        ) from problem


def _secrets() -> list[str]:
    found = set()
    for name, value in os.environ.items():
        if SECRET_NAME.search(name):
            found.add(value)
        found.update(URL_PASSWORD.findall(value))
    found |= {quote(value, safe="") for value in found} | {unquote(value) for value in found}
    return sorted((value for value in found if len(value) >= 6), key=len, reverse=True)


def _without_secrets(value: Any) -> Any:
    """Error texts are other people's: no value of a secret variable may stand in them."""
    if isinstance(value, dict):
        return {key: _without_secrets(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    if isinstance(value, str):
        for secret in _secrets():
            value = value.replace(secret, "***")
    return value
