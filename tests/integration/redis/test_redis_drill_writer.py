# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drill's client writes through the proxy while real masters are killed under it."""

from __future__ import annotations

import inspect
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.servers import wait_until
from redis_ha import HOSTS, PROXY, Platform, platform

from ansible_collections.celeryops.platform.plugins.module_utils._drill.rounds import (
    FAILOVER,
    IN_PLACE,
    Struck,
    strike,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis import drill_writer
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill import round_of
from ansible_collections.celeryops.platform.plugins.module_utils._redis.drill_run import Redis


def written(ha: Platform, **more: Any) -> dict[str, Any]:
    """The client's answer, from a Python that has nothing but the text."""
    options = {
        "host": PROXY,
        "port": ha.port,
        "password": ha.password,
        "key": "celeryops:drill:test",
        "replicas": 0,
        "interval": 0.01,
        "timeout": 2.0,
        "least": 2.0,
        "quiet": 1.0,
        "most": 60.0,
        **more,
    }
    text = f"{inspect.getsource(drill_writer)}\nmain(json.loads({json.dumps(options)!r}))\n"
    command = [sys.executable, "-I", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def drilled(ha: Platform, *, back_at_once: bool, by: signal.Signals = signal.SIGKILL) -> tuple[Any, int, int]:
    victim = ha.wait_healthy()
    answers: list[dict[str, Any]] = []
    client = threading.Thread(target=lambda: answers.append(written(ha, least=4.0, quiet=2.0)))
    client.start()
    time.sleep(1.5)
    killed_at = time.time()
    ha.end(f"redis-{victim}", by)
    if back_at_once:
        ha.start(f"redis-{victim}")
    client.join()
    if not back_at_once:
        ha.start(f"redis-{victim}")
    successor = ha.wait_healthy()
    masters = (f"redis-{victim}", f"redis-{successor}")
    return round_of(masters[0], masters, killed_at, answers[0]), victim, successor


class OnLoopback(Redis):
    """The drill's engine whose client and servers are processes here, in place of pods."""

    def __init__(self, ha: Platform, *, back_at_once: bool) -> None:
        super().__init__(None, {}, None, "", sys.executable, 60)  # type: ignore[arg-type]
        self.ha = ha
        self.back_at_once = back_at_once

    def _run(self, words: list[str], stdin: str | None = None, timeout: float = 60) -> Any:
        command = [sys.executable, "-I", *(words if stdin else ["-c", *words])]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=timeout)
        return SimpleNamespace(rc=done.returncode, stdout=done.stdout, stderr=done.stderr)

    def _healthy(self, patience: float) -> tuple[Any, str]:
        missing = [f"redis-{number}" for number in range(3) if f"redis-{number}" not in self.ha.processes]
        self.ha.start(*missing)
        name, _dot, suffix = PROXY.partition(".")
        service = {"metadata": {"name": name}, "spec": {"ports": [{"port": self.ha.port}]}}
        facts = {"master_service": service, "suffix": suffix, "password": self.ha.password, "ca": ""}
        return SimpleNamespace(**facts), f"redis-{self.ha.wait_healthy()}"

    def hit(self, kind: str, struck: Struck) -> str:
        struck(None)
        self.ha.end(self._began, signal.SIGKILL)
        if self.back_at_once:
            self.ha.start(self._began)
        else:
            self.ha.promoted(int(self._began.rpartition("-")[2]))
        return self._began


@pytest.mark.slow
def test_the_engine_of_a_drill_has_its_client_write_from_before_until_after(tmp_path: Path) -> None:
    with platform(tmp_path) as ha:
        times: list[float | None] = []
        again = strike(OnLoopback(ha, back_at_once=True), "redis_master_process", times.append)
        assert (again.kind, again.victim, again.lost, again.replica_steady) == (IN_PLACE, again.before, 0, 0)
        over = strike(OnLoopback(ha, back_at_once=False), "redis_master_process", times.append)
        assert (over.kind, over.victim, over.replica_steady) == (FAILOVER, over.before, 0)
        for one in (again, over):
            assert one.gap
            assert one.began is not None
            assert one.ended is not None
            assert one.ended - one.began == pytest.approx(one.gap, abs=0.01)
            # It wrote for some seconds on either side.
            assert one.acknowledged > 100
            assert one.errors
        assert times == [None, None]
        assert ha.client().keys("celeryops:drill:*") == []


@pytest.mark.slow
def test_a_drill_tells_gap_losses_and_kind(tmp_path: Path) -> None:
    with platform(tmp_path) as ha:
        undisturbed = round_of("nobody", ("redis-0", "redis-0"), time.time() + 60, written(ha))
        assert undisturbed.errors == {}
        assert (undisturbed.lost, undisturbed.acknowledged > 10) == (0, True)

        again, victim, successor = drilled(ha, back_at_once=True)
        assert victim == successor
        assert again.kind == IN_PLACE
        assert again.gap is not None
        # Its own AOF has all that it acknowledged.
        assert (again.lost, again.replica_steady) == (0, 0)

        over, victim, successor = drilled(ha, back_at_once=False)
        assert victim != successor
        assert over.kind == FAILOVER
        assert over.gap is not None
        assert over.gap > again.gap
        assert over.replica_steady == 0
        assert over.acknowledged > 10
        assert ha.client().exists("celeryops:drill:test") == 0


@pytest.mark.slow
def test_a_master_that_is_told_to_stop_loses_nothing(tmp_path: Path) -> None:
    with platform(tmp_path) as ha:
        over, victim, successor = drilled(ha, back_at_once=False, by=signal.SIGTERM)
        assert victim != successor
        assert over.acknowledged > 10
        assert (over.lost, over.replica_steady) == (0, 0)


@pytest.mark.slow
def test_the_proxy_leads_to_no_master_that_would_refuse_for_want_of_replicas(tmp_path: Path) -> None:
    with platform(tmp_path, settings={"redis_min_replicas_to_write": 1}) as ha:
        over, victim, successor = drilled(ha, back_at_once=False)
        assert victim != successor
        assert over.gap is not None
        assert "NOREPLICAS" not in over.errors
        assert "READONLY" not in over.errors


@pytest.mark.slow
def test_with_wait_a_write_counts_when_replicas_have_it(tmp_path: Path) -> None:
    with platform(tmp_path) as ha:
        assert written(ha, replicas=2)["errors"] == []
        answer = written(ha, replicas=3, timeout=0.2, most=1.0)
        assert answer["acknowledged"] == []
        assert {words for _at, words in answer["errors"]} == {"WAIT 2 of 3 replicas have it"}


@pytest.mark.slow
def test_a_replica_that_is_written_to_is_counted(tmp_path: Path) -> None:
    with platform(tmp_path) as ha:
        replica = HOSTS[(ha.wait_healthy() + 1) % 3]
        with pytest.raises(AssertionError, match="READONLY"):
            written(ha, host=replica, most=0.5)


@pytest.mark.slow
def test_it_tells_that_it_writes_and_ends_when_it_is_told(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with platform(tmp_path / "redis") as ha:
        answers: list[dict[str, Any]] = []
        options = {"least": 0.0, "quiet": 0.5, "mark": str(mark)}
        client = threading.Thread(target=lambda: answers.append(written(ha, **options)))
        client.start()
        wait_until(mark.exists, "the first write")
        Path(f"{mark}.end").touch()
        told = time.time()
        client.join()
        (answer,) = answers
        assert answer["began"] == answer["acknowledged"][0][1] <= told
        assert answer["acknowledged"][-1][1] >= told
        assert ha.client().exists("celeryops:drill:test") == 0
