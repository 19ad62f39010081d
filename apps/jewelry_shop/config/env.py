"""Reads settings from the environment and reports everything that is wrong with it at once."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

SECRET_KEY_LENGTH = 50
BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class Environment:
    """Typed access to environment variables. Problems are collected; `verify` raises them together.

    Collected rather than raised, so that one start shows all that is missing, and raised as
    ImproperlyConfigured, because a KeyError from settings is masked by Celery as
    "'Settings' object has no attribute ...". Values never appear in messages: they may be secret.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.problems: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        """The value of `name`; without a default it is required and must not be empty."""
        value = self._variables.get(name)
        if default is not None:
            return value or default
        if not value:
            self.problems.append(f"{name} {'is not set' if value is None else 'is empty'}")
        return value or ""

    def integer(self, name: str, default: int, minimum: int = 0) -> int:
        """A whole number, at least `minimum`."""
        value = self.text(name, str(default))
        if value.isascii() and value.isdigit() and int(value) >= minimum:
            return int(value)
        self.problems.append(f"{name} must be a whole number of at least {minimum}")
        return default

    def boolean(self, name: str, default: bool) -> bool:
        """True or false, in the usual spellings."""
        value = self.text(name, str(default)).lower()
        if value not in BOOLEANS:
            self.problems.append(f"{name} must be one of {', '.join(BOOLEANS)}")
        return BOOLEANS.get(value, default)

    def secret_key(self, name: str) -> str:
        """Django's secret key: Django itself runs with a short one and says nothing."""
        value = self.text(name)
        if value and len(value) < SECRET_KEY_LENGTH:
            self.problems.append(f"{name} has {len(value)} characters: at least {SECRET_KEY_LENGTH} are needed")
        return value

    def fernet_key(self, name: str) -> str:
        """A Fernet key: 32 bytes as URL-safe base64."""
        value = self.text(name)
        try:
            Fernet(value or Fernet.generate_key())
        except ValueError:
            self.problems.append(
                f"{name} is not a Fernet key: expected 32 bytes in URL-safe base64 (44 characters), "
                "as cryptography.fernet.Fernet.generate_key() makes them"
            )
        return value

    def redis_url(self, name: str, password: str, user: str = "") -> str:
        """The Redis URL in `name`, which carries no credentials, with user and password put in."""
        value = self.text(name)
        if not value:
            return value
        try:
            return url_with_password(value, password, user)
        except ValueError as error:
            self.problems.append(f"{name} {error}")
            return value

    def verify(self) -> None:
        """Raise ImproperlyConfigured naming every problem found so far."""
        if self.problems:
            problems = "; ".join(self.problems)
            raise ImproperlyConfigured(f"environment variables (README.md describes each): {problems}")


def url_with_password(url: str, password: str, user: str = "") -> str:
    """`url` with user and percent-encoded password; `;` separates several, as Celery's sentinel URLs do."""
    return ";".join(_one_url_with_password(part, password, user) for part in url.split(";"))


def tls_of(url: str) -> dict[str, str]:
    """What a URL says of TLS, such as ssl_cert_reqs and ssl_ca_certs; of several the first, for all say the same."""
    first = url.split(";", maxsplit=1)[0]
    return {key: value for key, value in parse_qsl(urlsplit(first).query) if key.startswith("ssl_")}


def _one_url_with_password(url: str, password: str, user: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("redis", "rediss", "sentinel") or not parts.hostname:
        raise ValueError("must look like redis://host:port/db")
    credentials, _at, address = parts.netloc.rpartition("@")
    ours = f"{quote(user, safe='')}:{quote(password, safe='')}" if password else ""
    if credentials not in ("", ours):  # ours: a child process reads what its parent composed
        raise ValueError("must carry no credentials: the password comes from REDIS_PASSWORD")
    return urlunsplit(parts._replace(netloc=f"{ours}@{address}" if ours else address))
