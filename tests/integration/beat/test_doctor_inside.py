# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor's program answers from inside the reference application, with real servers that are well or not."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from beat_place import PASSWORD, PROJECT, Place
from helpers.servers import free_port, wait_until

REQUEST: dict[str, Any] = {
    "queues": ["backups"],
    "workers": 0,
    "settled": 0,
    "connections": 10,
    "within": 1.0,
    "locked": 60,
    "whole": True,
}
BEAT = "django_celery_beat"


def look(place: Place, **changes: Any) -> dict[str, Any]:
    return place.ask("doctor", **{**REQUEST, **changes})


def test_an_application_that_is_well(migrated: Place) -> None:
    found = look(migrated)
    assert found["settings"] == {"error": None, "module": "config.settings", "secret_key_length": 64}
    assert found["logging"] == {"disabled": []}
    assert found["shm"] == {"error": None}
    assert found["broker"]["roles"] == ["master"] * 10
    assert found["broker"]["errors"] == []
    beat = found["database"].pop("beat")
    assert found["database"] == {"vendor": "postgresql", "error": None, "waiting": [], "read_only": None}
    assert (beat["pending"], beat["missing"]) == ([], [])
    assert beat["applied"] >= 20
    assert found["control"] == {"within": 1.0, "pongs": [], "queues": {}, "probes": {}}
    assert found["queues"]["lengths"]["backups"] == {"ready": 0, "unacked": 0, "backlog": 0}
    assert PASSWORD not in json.dumps(found)
    assert "%3A%231" not in json.dumps(found)


@pytest.mark.slow
def test_beats_tables_are_missing_or_of_an_older_version(empty: Place) -> None:
    beat = look(empty)["database"]["beat"]
    assert beat["applied"] == 0
    assert f"{BEAT}_periodictask" in beat["missing"]
    migrate = [sys.executable, "manage.py", "migrate", BEAT, "0011"]
    subprocess.run(migrate, cwd=PROJECT, env=empty.environment, check=True, stdout=subprocess.DEVNULL)
    beat = look(empty)["database"]["beat"]
    assert 0 < beat["applied"] < 20
    assert beat["missing"] == []
    assert beat["pending"][0].startswith(f"{BEAT}.0012")


def test_a_session_that_waits_for_a_lock(migrated: Place) -> None:
    wait = f"UPDATE {BEAT}_periodictask SET name = 'a customer''s' WHERE name = 'another''s'"
    with migrated.connect() as holder, migrated.connect() as waiter, ThreadPoolExecutor(1) as pool:
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE {BEAT}_periodictask IN SHARE MODE")
        pids = waiter.info.backend_pid, holder.info.backend_pid
        done = pool.submit(waiter.execute, wait)
        blocked = "SELECT 1 FROM pg_locks WHERE pid = %s AND NOT granted"
        wait_until(lambda: migrated.sql(blocked, pids[0]), "a session that waits")
        found = look(migrated, locked=0)["database"]
        (told,) = found["waiting"]
        assert look(migrated)["database"]["waiting"] == []
        holder.execute("ROLLBACK")
        done.result()
    assert found["beat"]["pending"] == []
    assert (told["pid"], told["blocked_by"]) == pids
    assert told["query"] == f"UPDATE {BEAT}_periodictask"


def test_a_session_that_only_reads(migrated: Place) -> None:
    migrated.extra = {"PGOPTIONS": "-c default_transaction_read_only=on"}
    found = look(migrated)["database"]
    assert (found["read_only"], found["error"]) == ("setting", None)
    assert found["beat"]["pending"] == []


@pytest.mark.slow
def test_a_table_that_is_locked_holds_the_doctor_up_for_no_longer_than_it_may(migrated: Place) -> None:
    with migrated.connect() as holder:
        holder.execute("BEGIN")
        holder.execute(f"LOCK TABLE {BEAT}_periodictask")
        found = look(migrated)["database"]
        holder.execute("ROLLBACK")
    assert found["error"] is None
    assert found["beat"] is None
    assert "statement timeout" in found["beat_problem"]


def test_a_database_that_refuses_hides_nothing_else(migrated: Place) -> None:
    migrated.extra = {"DATABASE_PORT": str(free_port())}
    found = look(migrated)
    assert "OperationalError" in found["database"]["error"]
    assert "refused" in found["database"]["error"]
    assert found["broker"]["roles"] == ["master"] * 10
    migrated.extra = {"DATABASE_PASSWORD": "wrong-one"}
    assert "password authentication failed" in look(migrated)["database"]["error"]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def black_hole() -> Iterator[int]:
    """Drops what comes: its queue of connections is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        waiting = [socket.socket() for _ in range(2)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        yield port
        for one in waiting:
            one.close()


def broker(place: Place, url: str) -> list[str]:
    place.extra = {"CELERY_BROKER_URL": url}
    found = look(place)
    assert found["broker"]["roles"] == []
    assert "control" not in found
    assert found["database"]["error"] is None
    errors: list[str] = found["broker"]["errors"]
    return errors


def test_brokers_that_do_not_answer_are_told_apart(migrated: Place, silent_port: int, black_hole: int) -> None:
    (refused,) = broker(migrated, f"redis://127.0.0.1:{free_port()}/0")
    assert "refused" in refused
    (silent,) = broker(migrated, f"redis://127.0.0.1:{silent_port}/0")
    assert "Timeout reading" in silent
    (dropped,) = broker(migrated, f"redis://127.0.0.1:{black_hole}/0")
    assert "cannot be connected to within 2 s" in dropped
    (unknown,) = broker(migrated, "redis://no-such-name.invalid:6379/0")
    assert "name" in unknown.lower()


def test_tls_on_a_plain_port(migrated: Place, redis_port: int) -> None:
    (told,) = broker(migrated, f"rediss://127.0.0.1:{redis_port}/0?ssl_cert_reqs=none")
    assert told


def test_a_wrong_password(migrated: Place) -> None:
    migrated.extra = {"REDIS_PASSWORD": "wrong-one"}
    (told,) = look(migrated)["broker"]["errors"]
    assert "WRONGPASS" in told or "invalid username-password" in told
    assert "wrong-one" not in told


def test_the_settings_own_error_is_told_and_not_celerys(migrated: Place, tmp_path: Path) -> None:
    (tmp_path / "lacking.py").write_text("import os\nfrom config.settings import *\nURL = os.environ['PAYMENT_URL']\n")
    migrated.extra = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "lacking"}
    found = look(migrated)
    assert found["settings"]["error"] == "KeyError: 'PAYMENT_URL'"
    assert "broker" not in found
    assert found["shm"] == {"error": None}


def test_disabled_loggers_are_told(migrated: Place, tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text(
        "from config.settings import *\n"
        "import logging.config\n"
        "LOGGING = {'version': 1, 'handlers': {}, 'root': {'handlers': []}}\n"
        "LOGGING_CONFIG = 'logging.config.dictConfig'\n"
    )
    migrated.extra = {"PYTHONPATH": str(tmp_path), "DJANGO_SETTINGS_MODULE": "silent"}
    assert "celery.worker.consumer.consumer" in look(migrated)["logging"]["disabled"]


def test_a_list_that_nobody_declared_is_found(migrated: Place) -> None:
    send = (
        "from config.celery import app\n"
        "from kombu import Queue\n"
        "with app.producer_or_acquire() as p:\n"
        "    p.publish({}, routing_key='astray', exchange='', declare=[Queue('astray', routing_key='astray')])\n"
    )
    subprocess.run([sys.executable, "-c", send], cwd=PROJECT, env=migrated.environment, check=True)
    assert look(migrated)["queues"]["lengths"]["astray"] == {"ready": 1, "unacked": 0, "backlog": 1}
    assert "astray" not in look(migrated, whole=False).get("queues", {})
