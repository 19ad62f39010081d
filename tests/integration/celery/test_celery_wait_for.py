# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An init container starts a pod when, and only when, the broker takes writes and the tables are there."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery_running import FILES, PASSWORD, Redis
from helpers.servers import DEADLINE, free_port, wait_until

POSTGRESQL = Path("/usr/lib/postgresql/15/bin")
Done = subprocess.CompletedProcess


def wait_for(*arguments: str, timeout: float = 1, **environment: str) -> Done[str]:
    return subprocess.run(
        [sys.executable, FILES / "wait_for.py", f"--timeout={timeout}", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def broker(url: str, **more: Any) -> Done[str]:
    options = ("broker", "--url", "${URL}", "--password", "${REDIS_PASSWORD}")
    return wait_for(*options, URL=url, REDIS_PASSWORD=more.pop("password", PASSWORD), **more)


def test_master_takes_writes(redis: Redis) -> None:
    done = broker(redis.bare_url)
    assert (done.returncode, done.stdout) == (
        0,
        "broker: 127.0.0.1 is the master and takes writes, on 10 new connections\n",
    )


def test_password_in_the_url_is_decoded(redis: Redis) -> None:
    assert broker(redis.url, password="").returncode == 0


def test_nothing_is_written(redis: Redis) -> None:
    broker(redis.bare_url)
    login = {**os.environ, "REDISCLI_AUTH": PASSWORD}
    command = ["redis-cli", "-p", str(redis.port), "dbsize"]
    assert subprocess.run(command, env=login, capture_output=True, text=True, check=True).stdout.strip() == "0"


def test_replica_is_refused(replica: Redis) -> None:
    done = broker(replica.bare_url)
    assert done.returncode == 1
    assert "connection 1 of 10 to 127.0.0.1 reached a slave, expected the master" in done.stderr


def test_service_over_master_and_replica_is_refused(redis: Redis, replica: Redis) -> None:
    """Every third new connection reaches the replica, as behind a Service."""
    with socket.create_server(("127.0.0.1", 0)) as front:

        def serve() -> None:
            for number in range(10):
                client, _ = front.accept()
                port = (replica if number % 3 == 2 else redis).port
                server = socket.create_connection(("127.0.0.1", port))
                for source, sink in ((client, server), (server, client)):
                    threading.Thread(target=pump, args=(source, sink), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        done = broker(f"redis://127.0.0.1:{front.getsockname()[1]}/0", timeout=0.1)
    assert done.returncode == 1
    assert "connection 3 of 10" in done.stderr


def pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(4096):
        sink.sendall(data)
    sink.close()


def test_first_working_url_of_several_is_enough(redis: Redis) -> None:
    assert broker(f"redis://127.0.0.1:{free_port()}/0;{redis.bare_url}").returncode == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "WRONGPASS"),
        ({"password": ""}, "NOAUTH"),
        ({"url": "closed"}, "cannot be reached"),
        ({"url": "silent"}, "no answer to AUTH within 3 s"),
    ],
)
def test_reason_is_told(redis: Redis, change: dict[str, str], reason: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        urls = {
            "closed": f"redis://127.0.0.1:{free_port()}/0",
            "silent": f"redis://127.0.0.1:{silent.getsockname()[1]}/0",
        }
        done = broker(urls.get(change.get("url", ""), redis.bare_url), password=change.get("password", PASSWORD))
    assert done.returncode == 1
    assert reason in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


def test_waits_until_the_broker_is_there(redis: Redis) -> None:
    redis.stop()
    waiting = subprocess.Popen(
        [sys.executable, FILES / "wait_for.py", "broker", "--url", redis.url],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert waiting.stdout is not None
    assert "broker: waiting: 127.0.0.1" in waiting.stdout.readline()
    redis.start()
    assert waiting.wait(DEADLINE) == 0
    assert "takes writes" in waiting.stdout.read()


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server with one table. It refuses to run as root, so root runs it as the user that its package made."""
    folder = tmp_path_factory.mktemp("postgresql")
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(folder, "postgres")
        # pytest makes its folders private: the session's, and where tests run side by side each process' own.
        for parent in list(folder.parents)[:3]:
            parent.chmod(parent.stat().st_mode | 0o055)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(secret, "postgres")
    port, data = free_port(), folder / "data"
    run = {"cwd": folder, "stdout": subprocess.DEVNULL, **user}
    identity = ["--username=app", f"--pwfile={secret}", "--auth=scram-sha-256"]
    subprocess.run([POSTGRESQL / "initdb", f"--pgdata={data}", "--no-sync", *identity], check=True, **run)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"port={port}", "-c", "fsync=off"]
    server = subprocess.Popen(
        [POSTGRESQL / "postgres", "-D", data, *options, "-c", f"unix_socket_directories={folder}"],
        stderr=subprocess.DEVNULL,
        **run,
    )
    settings = {"host": "127.0.0.1", "port": str(port), "database": "postgres", "user": "app"}
    try:
        login = {**os.environ, "PGPASSWORD": PASSWORD}
        psql = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "app", "-d", "postgres", "-c"]

        def created() -> bool:
            done = subprocess.run(
                [*psql, "CREATE TABLE IF NOT EXISTS here (id int)"],
                env=login,
                capture_output=True,
                check=False,
            )
            return done.returncode == 0

        wait_until(created, "a table")
        yield {**settings, "password": "${DATABASE_PASSWORD}"}
    finally:
        server.terminate()
        server.wait(DEADLINE)


def database(settings: dict[str, str], *tables: str, password: str = PASSWORD, python: str = "") -> Done[str]:
    names = [option for table in tables for option in ("--table", table)]
    return wait_for("database", "--settings", json.dumps(settings), *names, DATABASE_PASSWORD=password)


def test_tables_are_there(postgresql: dict[str, str]) -> None:
    done = database(postgresql, "here")
    assert done.returncode == 0, done.stderr
    assert re.search(r"answers and has here$", done.stdout.strip())


def test_missing_table_is_named(postgresql: dict[str, str]) -> None:
    done = database(postgresql, "here", "django_celery_beat_periodictask")
    assert done.returncode == 1
    assert "has no table django_celery_beat_periodictask: migrations are pending" in done.stderr


def test_wrong_password_is_told(postgresql: dict[str, str]) -> None:
    done = database(postgresql, "here", password="wrong")  # noqa: S106
    assert done.returncode == 1
    assert "password authentication failed" in done.stderr


def test_without_a_driver_only_the_protocol_is_asked(postgresql: dict[str, str]) -> None:
    command = [
        sys.executable,
        "-S",
        "-E",
        FILES / "wait_for.py",
        "database",
        "--settings",
        json.dumps(postgresql),
    ]
    done = subprocess.run([*command, "--table", "here"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "its tables were not looked for" in done.stdout


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FILES))
    import wait_for

    return wait_for


def test_who_is_led_elsewhere_goes_sooner(script: Any, replica: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    """A container has its environment from its start: started again, it reads a URL that was put right meanwhile."""

    def ask() -> str:
        return str(script.check_brokers(replica.bare_url, ("", PASSWORD), "mymaster"))

    assert script.until_true("broker", ask, timeout=DEADLINE, pause=0.1, elsewhere=0.5) == 1
    said = capsys.readouterr()
    assert "reached a slave" in said.err
    assert f"gave up after {DEADLINE:.0f} s" not in said.err


def test_who_is_not_there_is_waited_for(script: Any, redis: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    redis.stop()

    def ask() -> str:
        return str(script.check_brokers(redis.bare_url, ("", PASSWORD), "mymaster"))

    assert script.until_true("broker", ask, timeout=2, pause=0.1, elsewhere=0.2) == 1
    assert "gave up after 2 s" in capsys.readouterr().err


def test_turns(script: Any) -> None:
    turn: Callable[..., float] = script.turn
    names = [f"celery-worker-6d5f-{n}" for n in range(200)]
    pauses = [turn("hash", 5, 25, name) for name in names]
    assert pauses == [turn("hash", 5, 25, name) for name in names]
    assert all(5 <= pause <= 25 for pause in pauses)
    assert len({int(pause) for pause in pauses}) == 20
    assert all(0 <= turn("random", 0, 10, "x") <= 10 for _ in range(100))
    assert turn("none", 5, 25, "x") == 0
