# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes the master, and who must not: real servers, Sentinels and proxy, started by the role's scripts.

Each test begins and ends with a healthy platform, whoever is its master then.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from helpers.servers import wait_until
from redis_ha import HOSTS, MASTER, PASSWORD, PROXY, REDIS, SENTINELS, Platform, platform

KILL = signal.SIGKILL


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with platform(tmp_path_factory.mktemp("redis")) as servers:
        yield servers


@pytest.fixture
def ha(started: Platform) -> Iterator[Platform]:
    missing = [name for name in (*REDIS, *SENTINELS, "proxy") if name not in started.processes]
    started.start(*missing)
    started.wait_healthy()
    yield started


def keep(ha: Platform, key: str) -> str:
    """Writes through the proxy what both replicas have when this returns."""
    client = ha.client()
    client.set(key, "kept")
    assert client.wait(2, 5000) == 2
    return key


def kept(ha: Platform, key: str) -> bool:
    with contextlib.suppress(redis.RedisError):
        return bool(ha.client().get(key) == "kept")
    return False


@pytest.mark.slow
def test_first_start(started: Platform) -> None:
    assert started.master() == 0
    for name in ("redis-1", "redis-2"):
        assert "127.0.1.1 is the master" not in started.log(name)
    assert "waiting: 0 Sentinels know the master" in started.log("redis-0")


def test_the_password_reaches_no_volume(started: Platform) -> None:
    started.wait_healthy()
    escaped = "".join(f"\\x{byte:02x}" for byte in PASSWORD.encode())
    for path in started.folder.glob("*/data/**/*"):
        if path.is_file():
            content = path.read_bytes()
            assert PASSWORD.encode() not in content, path
            assert escaped.encode() not in content, path
    for number in range(3):
        known = started.folder / f"sentinel-{number}" / "data" / "known"

        def complete(known: Path = known) -> bool:
            said = known.read_text(encoding="utf-8")
            return said.count("known-replica") == said.count("known-sentinel") == 2

        wait_until(complete, "what a Sentinel knows, on its volume")
        assert f"sentinel monitor {MASTER} {HOSTS[0]} {started.port} 2\n" in known.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_master_that_is_gone_is_replaced_and_follows_when_it_returns(ha: Platform) -> None:
    old, key = ha.wait_healthy(), keep(ha, "gone")
    ha.end(f"redis-{old}", KILL)
    new = ha.promoted(old)
    wait_until(lambda: kept(ha, key), "a read through the proxy")
    ha.client().set("after", "1")
    ha.start(f"redis-{old}")
    assert ha.wait_healthy() == new
    assert ha.client(old).get("after") == "1"
    assert f"{HOSTS[old]} follows {HOSTS[new]}" in ha.log(f"redis-{old}")


def test_a_master_that_restarts_at_once_stays_the_master_and_loses_nothing(ha: Platform) -> None:
    old = ha.wait_healthy()
    # Not replicated when the process dies: only its own AOF has it.
    for number in range(3):
        if number != old:
            ha.processes[f"redis-{number}"].send_signal(signal.SIGSTOP)
    try:
        ha.client(old).set("own", "kept")
        ha.end(f"redis-{old}", KILL)
        ha.start(f"redis-{old}")
        wait_until(lambda: ha.role(old) == "master", "the same master")
    finally:
        for number in range(3):
            if number != old:
                ha.processes[f"redis-{number}"].send_signal(signal.SIGCONT)
    assert ha.wait_healthy() == old
    assert kept(ha, "own")


@pytest.mark.slow
def test_a_master_that_lost_its_volume_is_never_followed(ha: Platform) -> None:
    old, key = ha.wait_healthy(), keep(ha, "guarded")
    ha.end(f"redis-{old}", KILL)
    ha.lose_volume(f"redis-{old}")
    ha.start(f"redis-{old}")
    new = ha.promoted(old)
    assert ha.wait_healthy() == new
    assert kept(ha, key)
    assert ha.client(old).get(key) == "kept"
    assert "is not to be the master with less data than" in ha.log(f"redis-{old}")


@pytest.mark.slow
def test_a_master_that_has_only_an_old_snapshot_is_not_followed_either(ha: Platform) -> None:
    old = ha.wait_healthy()
    ha.client(old).save()
    key = keep(ha, "newer")
    ha.end(f"redis-{old}", KILL)
    shutil.rmtree(ha.folder / f"redis-{old}" / "data" / "appendonlydir")
    ha.start(f"redis-{old}")
    assert ha.promoted(old) == ha.wait_healthy()
    assert kept(ha, key)


def test_while_it_waits_a_server_is_alive_and_not_ready(ha: Platform) -> None:
    old = ha.wait_healthy()
    ha.end(f"redis-{old}", KILL)
    for name in SENTINELS:
        ha.end(name, KILL)
    ha.start(f"redis-{old}")
    waiting = ha.folder / f"redis-{old}" / "run" / "waiting"
    wait_until(waiting.exists, "a server that waits")
    assert ha.run("alive.sh", f"redis-{old}").returncode == 0
    ready = ha.run("ready.sh", f"redis-{old}")
    assert (ready.returncode, ready.stdout) == (
        1,
        "0 Sentinels know the master and 0 know none, of which 2 are needed\n",
    )


@pytest.mark.slow
def test_everything_at_once_goes_and_comes_back(ha: Platform) -> None:
    old = ha.wait_healthy()
    ha.end(f"redis-{old}", KILL)
    master = ha.promoted(old)
    ha.start(f"redis-{old}")
    assert ha.wait_healthy() == master
    key = keep(ha, "outage")
    # The last words of a master that nobody else heard.
    for number in range(3):
        if number != master:
            ha.end(f"redis-{number}", KILL)
    ha.client(master).set("last", "kept")
    ha.end(f"redis-{master}", KILL)
    for name in (*SENTINELS, "proxy"):
        ha.end(name, KILL)
    # The replicas are back first, and wait for it.
    ha.start(*SENTINELS, *(f"redis-{number}" for number in range(3) if number != master))
    wait_until(lambda: {ha.named(number) for number in range(3)} == {HOSTS[master]}, "the Sentinels' memory")
    ha.start(f"redis-{master}", "proxy")
    assert ha.wait_healthy() == master
    assert kept(ha, key)
    assert kept(ha, "last")


@pytest.mark.slow
def test_without_the_master_who_was_in_step_last_goes_first(ha: Platform) -> None:
    master = ha.wait_healthy()
    stale, fresh = (number for number in range(3) if number != master)
    ha.end(f"redis-{stale}", KILL)
    # Ten seconds are the unit in which the scripts compare; no test waits for them.
    in_step = ha.folder / f"redis-{stale}" / "data" / "in-step"
    in_step.write_text(str(int(in_step.read_text(encoding="ascii")) - 60), encoding="ascii")
    ha.client().set("late", "kept")
    assert ha.client().wait(1, 5000) == 1
    for number in (master, fresh):
        ha.end(f"redis-{number}", KILL)
    # The staler one is up first, and so is its time over first.
    ha.start(f"redis-{stale}")
    wait_until(lambda: ha.uptime(stale) >= 2, "a start that is earlier")
    ha.start(f"redis-{fresh}")

    def promoted() -> bool:
        ha.probe()
        return ha.role(fresh) == "master"

    # The kubelet's next probe finds that nobody has come back for long enough.
    ha.patience = 10
    try:
        wait_until(promoted, "the newer of two")
    finally:
        ha.patience = 60
    assert kept(ha, "late") or ha.client(fresh).get("late") == "kept"
    assert ha.role(stale) != "master"


@pytest.mark.slow
def test_sentinels_that_lost_their_memory_find_the_master(ha: Platform) -> None:
    master = ha.wait_healthy()
    for name in SENTINELS:
        ha.end(name, KILL)
        ha.lose_volume(name)
    ha.start(*SENTINELS)
    assert ha.wait_healthy() == master
    one = SENTINELS[master]
    ha.end(one, KILL)
    ha.lose_volume(one)
    ha.start(one)
    assert ha.wait_healthy() == master


def test_nothing_left_anywhere_starts_anew(ha: Platform) -> None:
    ha.wait_healthy()
    for name in REDIS:
        ha.end(name, KILL)
        ha.lose_volume(name)
    ha.start(*REDIS)
    ha.wait_healthy()
    assert ha.client().dbsize() == 0


@pytest.mark.slow
def test_data_without_any_memory_waits_for_a_person(ha: Platform) -> None:
    ha.wait_healthy()
    key = keep(ha, "chosen")
    for name in (*REDIS, *SENTINELS):
        ha.end(name, KILL)
    for name in SENTINELS:
        ha.lose_volume(name)
    ha.start(*REDIS, *SENTINELS)
    place = ha.folder / "redis-1"

    def explained() -> bool:
        waiting = place / "run" / "waiting"
        return waiting.exists() and "start-as-master" in waiting.read_text(encoding="utf-8")

    wait_until(explained, "the reason")
    (place / "data" / "start-as-master").touch()
    assert ha.wait_healthy() == 1
    assert kept(ha, key)
    assert not (place / "data" / "start-as-master").exists()


@pytest.mark.slow
def test_a_snapshot_alone_is_loaded(ha: Platform) -> None:
    key = keep(ha, "snapshot")
    ha.client(ha.wait_healthy()).save()
    snapshot = ha.folder / "dump.rdb"
    shutil.copy(ha.folder / f"redis-{ha.wait_healthy()}" / "data" / "dump.rdb", snapshot)
    for name in (*REDIS, *SENTINELS):
        ha.end(name, KILL)
        ha.lose_volume(name)
    data = ha.folder / "redis-0" / "data"
    data.mkdir(parents=True)
    shutil.copy(snapshot, data / "dump.rdb")
    ha.start(*REDIS, *SENTINELS)
    assert ha.wait_healthy() == 0
    assert kept(ha, key)


def through_the_proxy(ha: Platform, connections: int = 20) -> list[str]:
    found = []
    for _ in range(connections):
        try:
            found.append(str(ha.client().info("server")["run_id"]))
        except redis.RedisError as error:
            found.append(type(error).__name__)
    return found


def test_of_two_masters_the_proxy_reaches_the_one_that_the_sentinels_name(ha: Platform) -> None:
    master = ha.wait_healthy()
    other = (master + 1) % 3
    right = ha.run_id(master)
    ha.client(other).replicaof("NO", "ONE")
    wait_until(lambda: ha.status(f"redis-{other}") == "UP", "a proxy that has seen the second master")
    assert set(through_the_proxy(ha)) == {right}
    ha.client(other).replicaof(HOSTS[master], ha.port)


def test_without_a_majority_of_sentinels_the_only_master_is_reached(ha: Platform) -> None:
    master = ha.wait_healthy()
    for name in SENTINELS[:2]:
        ha.end(name, KILL)
    wait_until(lambda: ha.status(f"named-{master}", "BACKEND") == "UP" and ha.count(f"named-{master}") == 1, "one left")
    assert set(through_the_proxy(ha)) == {ha.run_id(master)}


@pytest.mark.slow
def test_a_demoted_master_keeps_no_client(ha: Platform) -> None:
    old = ha.wait_healthy()
    with socket.create_connection((PROXY, ha.port), timeout=30) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100).startswith(b"-NOAUTH")
        ha.client(0, sentinel=True).execute_command("SENTINEL", "FAILOVER", MASTER)
        assert client.recv(100) == b""
    assert ha.promoted(old) == ha.wait_healthy()
