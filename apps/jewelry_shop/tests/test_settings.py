"""A project that cannot work says why before it starts; one that can is not stopped by trifles."""

import subprocess
from collections.abc import Callable

import pytest

Manage = Callable[..., subprocess.CompletedProcess[str]]

REQUIRED = [
    "DJANGO_SECRET_KEY",
    "FIELD_ENCRYPTION_KEY",
    "DATABASE_HOST",
    "DATABASE_NAME",
    "DATABASE_USER",
    "DATABASE_PASSWORD",
    "DATABASE_DIRECT_HOST",
    "CELERY_BROKER_URL",
    "CELERY_RESULT_BACKEND",
]
WRONG = {
    "DJANGO_SECRET_KEY": ("tiny", "has 4 characters: at least 50"),
    "FIELD_ENCRYPTION_KEY": ("c2hvcnQ=", "is not a Fernet key"),
    "DATABASE_PORT": ("x", "must be a whole number of at least 1"),
    "LOG_LEVEL": ("loud", "must be one of CRITICAL"),
    "CELERY_SEND_TASK_EVENTS": ("maybe", "must be one of 1, true"),
    "CELERY_BROKER_URL": ("redis://:other@host:6379/0", "must carry no credentials"),
    "CELERY_RESULT_BACKEND": ("host:6379", "must look like redis://host:port/db"),
    "CELERY_TASK_TIME_LIMIT": ("3600", "must be below CELERY_VISIBILITY_TIMEOUT"),
}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(("value", "problem"), [(None, "is not set"), ("", "is empty")])
def test_all_that_is_missing_is_named_at_once(manage: Manage, value: str | None, problem: str) -> None:
    done = manage("check", **dict.fromkeys(REQUIRED, value))
    assert done.returncode == 1
    assert "ImproperlyConfigured" in last_line(done)
    assert [name for name in REQUIRED if f"{name} {problem}" not in last_line(done)] == []


def test_all_that_is_wrong_is_named_at_once_and_no_secret_shown(manage: Manage) -> None:
    done = manage("check", **{name: value for name, (value, _) in WRONG.items()})
    assert done.returncode == 1
    assert [name for name, (_, problem) in WRONG.items() if f"{name} {problem}" not in last_line(done)] == []
    assert [secret for secret in ("tiny", "c2hvcnQ", ":other@") if secret in done.stderr] == []


def test_celery_shows_the_cause_too(celery: Callable[..., object], manage: Manage) -> None:
    """A KeyError from settings would reach the log as 'Settings' object has no attribute."""
    program = celery("worker", DATABASE_NAME="")
    program.process.wait(60)
    assert program.process.returncode == 1
    assert "DATABASE_NAME is empty" in program.log.read_text()


@pytest.mark.parametrize("dsn", ["changeme", "None", "https://key@host/<project>", "https://host/1"])
def test_an_invalid_dsn_is_a_warning(manage: Manage, dsn: str) -> None:
    done = manage("check", SENTRY_DSN=dsn)
    assert done.returncode == 0
    assert "SENTRY_DSN is not a valid DSN" in done.stdout
    assert "shop.W001" in done.stderr


@pytest.mark.parametrize("dsn", ["", "https://key@127.0.0.1:9/1"])
def test_no_dsn_and_a_valid_one_are_silent(manage: Manage, dsn: str) -> None:
    done = manage("check", SENTRY_DSN=dsn)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Sentry" not in done.stdout


def test_sentry_runs_with_a_valid_dsn_only(manage: Manage) -> None:
    code = "import sentry_sdk; print('active', sentry_sdk.get_client().is_active())"
    assert "active True" in manage("shell", "-c", code, SENTRY_DSN="https://key@127.0.0.1:9/1").stdout
    assert "active False" in manage("shell", "-c", code, SENTRY_DSN="changeme").stdout


def test_the_models_and_the_database_agree_with_the_migrations(manage: Manage, migrated: None) -> None:
    assert manage("makemigrations", "--check", "--dry-run").returncode == 0
    assert manage("migrate", "--check").returncode == 0


def test_migrations_can_be_taken_back(manage: Manage, migrated: None) -> None:
    assert manage("migrate", "--database=direct", "core", "0001").returncode == 0
    assert manage("migrate", "--database=direct").returncode == 0


@pytest.mark.parametrize(
    ("url", "login", "composed"),
    [
        ("redis://h:6379/0", ("",), "redis://h:6379/0"),
        ("redis://h:6379/0", ("a/b@c:d#e",), "redis://:a%2Fb%40c%3Ad%23e@h:6379/0"),
        ("redis://:a%2Fb@h:6379/0", ("a/b",), "redis://:a%2Fb@h:6379/0"),
        ("rediss://h:6379/0?x=1", ("p", "u@v"), "rediss://u%40v:p@h:6379/0?x=1"),
        ("sentinel://a:1;sentinel://b:2", ("p",), "sentinel://:p@a:1;sentinel://:p@b:2"),
    ],
)
def test_user_and_password_are_put_into_the_url(url: str, login: tuple[str, ...], composed: str) -> None:
    from config.env import url_with_password

    assert url_with_password(url, *login) == composed


def test_of_several_urls_the_first_says_whom_to_trust() -> None:
    from config.env import tls_of

    trust = "ssl_cert_reqs=required&ssl_ca_certs=/etc/redis-tls/ca.crt"
    urls = ";".join(f"sentinel://:p%3B@{name}:26379/0?{trust}" for name in "ab")
    assert tls_of(urls) == {"ssl_cert_reqs": "required", "ssl_ca_certs": "/etc/redis-tls/ca.crt"}
    assert tls_of("sentinel://a:26379/0;sentinel://b:26379/0") == {}


@pytest.mark.parametrize(
    ("change", "identifier"),
    [
        ("settings.LOGGING['disable_existing_loggers'] = True", "shop.E001"),
        ("settings.DATABASES['default']['DISABLE_SERVER_SIDE_CURSORS'] = False", "shop.E002"),
        ("settings.BACKUP_DIR = pathlib.Path('/dev/null/backups')", "shop.W002"),
    ],
)
def test_system_checks_find_what_django_bears(manage: Manage, change: str, identifier: str) -> None:
    code = (
        "import pathlib; from django.conf import settings; from django.core.checks import run_checks;"
        f"{change}; print([message.id for message in run_checks()])"
    )
    assert identifier in manage("shell", "-c", code).stdout
