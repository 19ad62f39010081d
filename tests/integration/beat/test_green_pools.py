# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""psycopg under green threads, in the example application: while one task waits for the database, does another run?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import redis
from beat_place import PASSWORD, USER, process
from celery import Celery
from helpers.modules import ROOT
from helpers.servers import DEADLINE, wait_until

pytestmark = pytest.mark.slow

QUOTES = ROOT / "examples/quotes"
PROBE = ROOT / "roles/celery_pod/files"
LOCK = 4711
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.parametrize(
    ("pool", "wait_function", "yields"),
    [("gevent", None, True), ("eventlet", "wait_selector", True), ("eventlet", None, False)],
)
def test_a_query_that_waits(
    redis_port: int, postgresql_port: int, tmp_path: Path, pool: str, wait_function: str | None, yields: bool
) -> None:
    password = quote(PASSWORD, safe="")
    url = f"redis://:{password}@127.0.0.1:{redis_port}/7"
    database = f"postgresql://{USER}:{password}@127.0.0.1:{postgresql_port}/postgres"
    redis.Redis(port=redis_port, password=PASSWORD, db=7).flushdb()
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROBE),
        "CELERY_BROKER_URL": url,
        "CELERY_RESULT_BACKEND": url,
        "QUOTES_DATABASE": database,
        "CELERYOPS_STATE_DIR": str(tmp_path),
        "CELERYOPS_INTERVAL": "0.5",
        "CELERYOPS_SILENCE_LIMIT": "4",
        **({"PSYCOPG_WAIT_FUNC": wait_function} if wait_function else {}),
    }

    def alive() -> bool:
        probe = ["sh", PROBE / "probe.sh", "alive"]
        return subprocess.run(probe, env=environment, check=False, stdout=subprocess.DEVNULL).returncode == 0

    command = [sys.executable, "-m", "celery", "-A", "quotes.app", "worker", f"--pool={pool}", "--concurrency=4"]
    app = Celery(broker=url, backend=url)
    with (
        psycopg.connect(database, autocommit=True) as connection,
        (tmp_path / "log").open("w") as log,
        process(*command, cwd=QUOTES, env=environment, stdout=log, stderr=subprocess.STDOUT),
    ):
        wait_until((tmp_path / "ready").exists, "a worker that consumes")
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        archive = app.send_task("quotes.tasks.archive", [LOCK], queue="desk")
        wait_until(lambda: connection.execute(WAITING).fetchone() == (1,), "a task that waits for the lock")
        if yields:
            edit = app.send_task("quotes.tasks.edit", queue="desk")
            assert edit.get(DEADLINE)["queue"] == "desk"
            edit.forget()
            assert alive()
        else:
            wait_until(lambda: not alive(), "a failing liveness probe")
        connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
        assert archive.get(DEADLINE) == "archived"
        # A result that is still subscribed to would speak to a Redis that is gone.
        archive.forget()
