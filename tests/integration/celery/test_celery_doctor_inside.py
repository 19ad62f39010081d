# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor's program answers of workers and queues, in an application without Django."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from celery_running import HERE, PASSWORD, Redis, Running

from ansible_collections.celeryops.platform.plugins.module_utils._beat import shipment

REQUEST = {
    "app": "tiny",
    "queues": ["b"],
    "workers": 1,
    "settled": 1,
    "connections": 10,
    "within": 2.0,
    "locked": 60,
    "whole": True,
}


def look(redis: Redis, **changes: Any) -> dict[str, Any]:
    """As in a container: the program comes over standard input, which stays open."""
    command, packed = shipment.visit(sys.executable, "doctor", {**REQUEST, **changes}, ())
    process = subprocess.Popen(
        command,
        cwd=HERE,
        env={**os.environ, "TINY_URL": redis.url},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(packed)
    process.stdin.flush()
    output = process.stdout.read()
    return shipment.interpret(shipment.Outcome(process.wait(30), output))


def test_a_worker_that_works(worker: Callable[..., Running], redis: Redis, app: Any) -> None:
    worker()
    found = look(redis)
    (name,) = found["control"]["pongs"]
    assert found["control"]["queues"] == {name: ["a", "b"]}
    assert found["control"]["probes"][name]["consuming"] is True
    assert found["settings"]["error"] is None
    assert found["broker"]["roles"] == ["master"] * 10
    assert not found["database"]
    assert found["logging"] == {"disabled": []}
    assert found["memory"].keys() == {"limit", "usage", "oom_kills"}


def test_messages_that_wait_are_counted_over_all_priorities(redis: Redis, app: Any) -> None:
    for priority in (0, 3, 9):
        app.send_task("tiny.hello", queue="b", priority=priority)
    app.send_task("tiny.hello", queue="stranger")
    lengths = look(redis)["queues"]["lengths"]
    assert lengths["b"] == {"ready": 3, "unacked": 0, "backlog": 3}
    assert lengths["stranger"] == {"ready": 1, "unacked": 0, "backlog": 1}


def test_a_replica_is_told_and_nothing_is_asked_through_it(replica: Redis) -> None:
    found = look(replica)
    assert found["broker"]["roles"] == ["replica"] * 10
    assert "control" not in found
    assert "queues" not in found


def cli(redis: Redis, *words: str) -> dict[str, Any]:
    """How to run redis-cli."""
    return {
        "args": ["redis-cli", "-p", str(redis.port), *words],
        "env": {**os.environ, "REDISCLI_AUTH": PASSWORD},
        "stdout": subprocess.PIPE,
        "text": True,
    }


def configure(redis: Redis, name: str, value: str) -> None:
    assert subprocess.run(**cli(redis, "CONFIG", "SET", name, value), check=True).stdout == "OK\n"


def test_what_a_master_says_to_a_write_is_told(redis: Redis) -> None:
    configure(redis, "min-replicas-to-write", "1")
    (told,) = look(redis)["broker"]["errors"]
    assert "NOREPLICAS" in told
    configure(redis, "min-replicas-to-write", "0")
    configure(redis, "maxmemory", "1mb")
    (told,) = look(redis)["broker"]["errors"]
    assert told.startswith("OOM command not allowed")


def test_a_server_that_takes_no_more_clients(redis: Redis) -> None:
    configure(redis, "maxclients", "1")
    with subprocess.Popen(**cli(redis, "SUBSCRIBE", "x")) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "subscribe\n"
        found = look(redis)["broker"]
        holder.terminate()
    assert found["roles"] == []
    assert "max number of clients reached" in found["errors"][0]


def test_an_application_that_cannot_be_found(redis: Redis) -> None:
    found = look(redis, app="no_such_app")
    assert "no_such_app" in found["settings"]["error"]
    assert found["shm"] == {"error": None}
