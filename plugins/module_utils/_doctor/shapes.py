# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be told of a value that is a secret: how long it is, what form it has, where it points to."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

__all__ = ["Redactor", "dsn_problem", "is_secret", "secret_shapes", "shape"]

Json = dict[str, Any]
SECRET_NAME = re.compile(r"PASS|SECRET|KEY|TOKEN|DSN|CREDENTIAL|PRIVATE", re.IGNORECASE)
URL_PASSWORD = re.compile(r"(://[^/\s:@]*):([^/\s@]+)@")
# Keys of Secrets whose values are no secrets, and stand in every second line of a log
PLAIN = ("username", "user", "host", "hostname", "port", "database", "dbname")
# Shorter ones would take ordinary words out of logs.
SHORTEST = 6


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is nobody's business."""
    return SECRET_NAME.search(name) is not None


def dsn_problem(value: str) -> str:
    """Why a Sentry DSN cannot be used; empty when it can, and for an empty one, which switches Sentry off."""
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        port_problem = parts.port is not None and not 0 < parts.port < 65536
    except ValueError as problem:
        return str(problem)
    problems = (
        ("it does not begin with http:// or https://", parts.scheme not in ("http", "https")),
        ("it names no host", not parts.hostname or port_problem),
        ("it has no public key before the @", not parts.username),
        ("it does not end with the number of a project", not parts.path.rsplit("/", 1)[-1].isdigit()),
    )
    return next((problem for problem, applies in problems if applies), "")


def shape(value: str) -> Json:
    """``length``, ``form`` (empty, fernet, url, text), ``dsn`` (a problem, or empty) and, of a URL, ``endpoint``."""
    found: Json = {"length": len(value), "form": _form(value), "dsn": dsn_problem(value)}
    if found["form"] == "url":
        parts = urlsplit(value)
        found["endpoint"] = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    return found


def _form(value: str) -> str:
    if not value:
        return "empty"
    if re.fullmatch(r"[A-Za-z0-9_-]{43}=", value) and len(base64.urlsafe_b64decode(value)) == 32:
        return "fernet"
    try:
        parts = urlsplit(value)
    except ValueError:
        return "text"
    return "url" if parts.scheme and parts.netloc else "text"


def secret_shapes(secrets: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Json]]:
    """Secret: key: its shape."""
    return {
        one["metadata"]["name"]: {key: shape(_decoded(value)) for key, value in (one.get("data") or {}).items()}
        for one in secrets
    }


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "replace")


class Redactor:
    """Takes known secrets, and passwords of URLs, out of what others wrote."""

    def __init__(self, secrets: Iterable[Mapping[str, Any]] = ()) -> None:
        known = {
            _decoded(value).strip()
            for one in secrets
            for key, value in (one.get("data") or {}).items()
            if key.lower() not in PLAIN
        }
        known |= {password for value in known for _user, password in URL_PASSWORD.findall(value)}
        known |= {quote(value, safe="") for value in known} | {unquote(value) for value in known}
        self._known = sorted((one for one in known if len(one) >= SHORTEST), key=len, reverse=True)

    def text(self, value: str) -> str:
        for secret in self._known:
            value = value.replace(secret, "***")
        return URL_PASSWORD.sub(r"\1:***@", value)

    def value(self, value: Any) -> Any:
        """The same of whatever JSON holds."""
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return self.text(value) if isinstance(value, str) else value
