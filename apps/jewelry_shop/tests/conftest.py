"""A real PostgreSQL behind a real PgBouncer, and a real Redis, on loopback, the migrated project, and real workers."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parent.parent
POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "p@ss/word:#1"  # noqa: S105 - of servers that live as long as the tests; its characters need quoting
DEADLINE = 60
SERVER_USER: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

sys.path.insert(0, str(PROJECT))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {DEADLINE} s")
        time.sleep(0.05)


def answers(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    return ready


def takes_sessions(port: int) -> Callable[[], bool]:
    """For PostgreSQL, which takes connections before it can do anything with them."""
    command = [POSTGRESQL / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={port}"]
    return lambda: subprocess.run(command, check=False).returncode == 0


@contextlib.contextmanager
def redis_server(port: int, folder: Path, *options: str) -> Iterator[None]:
    """A Redis that ends with the block, without saving and without a farewell to its clients."""
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)]
    server = subprocess.Popen([*command, "--requirepass", PASSWORD, *options], stdout=subprocess.DEVNULL)
    try:
        wait_until(answers(port), "redis-server")
        yield
    finally:
        server.kill()
        server.wait(DEADLINE)


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    port = free_port()
    with redis_server(port, tmp_path_factory.mktemp("redis"), "--save", ""):
        yield port


@pytest.fixture(scope="session")
def database_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the user who runs the database programs: they refuse root, so root runs them as that user."""
    folder = tmp_path_factory.mktemp("postgresql")
    if SERVER_USER:
        shutil.chown(folder, "postgres")
        for parent in list(folder.parents)[:2]:  # pytest makes its folders private
            parent.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def postgresql_port(database_folder: Path) -> Iterator[int]:
    port = free_port()
    data, secret = database_folder / "data", database_folder / "password"
    secret.write_text(PASSWORD)
    run: dict[str, Any] = {"cwd": database_folder, "stdout": subprocess.DEVNULL, **SERVER_USER}
    identity = ["--username=jewelry_app", f"--pwfile={secret}", "--auth=scram-sha-256"]
    subprocess.run([POSTGRESQL / "initdb", f"--pgdata={data}", "--no-sync", *identity], check=True, **run)
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off -c unix_socket_directories={data}"
    command = [POSTGRESQL / "postgres", "-D", data, *options.split()]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, **run)
    try:
        wait_until(takes_sessions(port), "postgres")
        environment = {**os.environ, "PGPASSWORD": PASSWORD}
        create = ["createdb", "--host=127.0.0.1", f"--port={port}", "--username=jewelry_app", "jewelry_shop"]
        subprocess.run(create, check=True, env=environment)
        yield port
    finally:
        server.send_signal(signal.SIGINT)  # fast shutdown: it ends sessions, and does not wait for them
        server.wait(DEADLINE)


@pytest.fixture(scope="session")
def pooler_port(database_folder: Path, postgresql_port: int) -> Iterator[int]:
    """PgBouncer as the platform runs it: transactions of many clients share few sessions."""
    port = free_port()
    users, settings = database_folder / "users.txt", database_folder / "pgbouncer.ini"
    users.write_text(f'"jewelry_app" "{PASSWORD}"\n')
    settings.write_text(
        f"[databases]\n* = host=127.0.0.1 port={postgresql_port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = scram-sha-256\nauth_file = {users}\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    command = ["/usr/sbin/pgbouncer", "--quiet", str(settings)]
    server = subprocess.Popen(command, cwd=database_folder, stderr=subprocess.DEVNULL, **SERVER_USER)
    try:
        wait_until(answers(port), "pgbouncer")
        yield port
    finally:
        server.terminate()
        server.wait(DEADLINE)


@pytest.fixture(scope="session")
def environment(
    redis_port: int, postgresql_port: int, pooler_port: int, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The variables of a pod."""
    return {
        "PATH": f"{POSTGRESQL}{os.pathsep}{os.environ['PATH']}",
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "DJANGO_SECRET_KEY": "k" * 64,
        "FIELD_ENCRYPTION_KEY": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        "SENTRY_DSN": "",
        "DATABASE_HOST": "127.0.0.1",
        "DATABASE_PORT": str(pooler_port),
        "DATABASE_NAME": "jewelry_shop",
        "DATABASE_USER": "jewelry_app",
        "DATABASE_PASSWORD": PASSWORD,
        "DATABASE_DIRECT_HOST": "127.0.0.1",
        "DATABASE_DIRECT_PORT": str(postgresql_port),
        "CELERY_BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "CELERY_RESULT_BACKEND": f"redis://127.0.0.1:{redis_port}/0",
        "REDIS_PASSWORD": PASSWORD,
        "DATA_DIR": str(tmp_path_factory.mktemp("data")),
        # Sentry's library imports eventlet where it is installed, and eventlet warns of itself. The image has none.
        "PYTHONWARNINGS": "ignore:::sentry_sdk.utils",
    }


@pytest.fixture(scope="session")
def manage(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs manage.py in a process of its own; keywords change or, when None, remove variables."""

    def run(*arguments: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        changed = {k: v for k, v in {**environment, **changes}.items() if v is not None}
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(command, cwd=PROJECT, env=changed, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def migrated(manage: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = manage("migrate", "--database=direct")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def project(environment: dict[str, str], migrated: None) -> Iterator[Any]:
    """The Celery app in this process, on the migrated database."""
    before = dict(os.environ)
    os.environ.update(environment)
    import django

    django.setup()
    from config.celery import app

    app.loader.import_default_modules()
    yield app
    os.environ.clear()
    os.environ.update(before)


@dataclass
class Program:
    """A running celery program and what it prints."""

    process: subprocess.Popen[bytes]
    log: Path

    def says(self, text: str) -> bool:
        if self.process.poll() is not None:
            pytest.fail(f"ended with {self.process.returncode}:\n{self.log.read_text()}")
        return text in self.log.read_text()


@pytest.fixture
def celery(environment: dict[str, str], migrated: None, tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Starts `celery -A config ...`; keywords change variables. All end with the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **changes: str) -> Program:
            log = tmp_path / f"{arguments[0]}.log"
            with log.open("w") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "config", *arguments],
                    cwd=PROJECT,
                    env={**environment, "PYTHONPATH": str(PROJECT / "tests" / "extra"), **changes},
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            stack.callback(process.wait, DEADLINE)
            stack.callback(process.terminate)
            return Program(process, log)

        yield start
