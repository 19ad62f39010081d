# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beats without Django, elected through a real API server: stopped, cut off, and killed between claim and message."""

from __future__ import annotations

import datetime
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery_running import FILES, HERE, PASSWORD, Redis
from helpers.apiserver import ApiServer
from helpers.beats import Beats, OneBeat, Relay, make_lease, messages, twice
from helpers.servers import wait_until
from redis import Redis as Client

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

CLAIM = "celeryops:beat:turns:claim:"


@pytest.fixture
def broker(redis: Redis) -> Iterator[Client]:
    with Client(port=redis.port, password=PASSWORD, decode_responses=True) as client:
        yield client


@pytest.fixture
def beats(redis: Redis, api: Api, api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Beats]:
    environment = {**os.environ, "TINY_URL": redis.url, "PYTHONPATH": str(FILES)}
    environment |= make_lease(api, api_server, namespace, tmp_path / "account")
    found = Beats(tmp_path, ["-A", "turns"], HERE, environment, api, namespace)
    yield found
    found.end()


@pytest.fixture
def start(beats: Beats, tmp_path: Path) -> Callable[..., OneBeat]:
    """Starts one whose schedule file is its own, as in pods, and lost with it."""

    def run(**changes: str) -> OneBeat:
        return beats.start(f"--schedule={tmp_path / f'schedule-{len(beats.running)}'}", "--max-interval=1", **changes)

    return run


@pytest.fixture
def pair(beats: Beats, start: Callable[..., OneBeat]) -> tuple[OneBeat, OneBeat]:
    """(the one that acts, its standby)"""
    start()
    wait_until(lambda: beats.holder() is not None, "a beat that acts")
    standby = start()
    wait_until(standby.stands_by, "a standby")
    holder = beats.holder()
    assert holder is not None
    return holder, standby


def sends(beat: OneBeat) -> Callable[[], bool]:
    """Whether it has sent something since now."""
    before = beat.sent()
    return lambda: beat.sent() > before


@pytest.mark.slow
def test_a_standby_is_ready_and_says_so(pair: tuple[OneBeat, OneBeat], beats: Beats) -> None:
    holder, standby = pair
    wait_until(sends(holder), "a task")
    assert re.fullmatch(rf"standing by, {holder.name}_[0-9a-f-]+ acts", standby.says("ready"))
    assert standby.passes("alive")
    assert holder.says() == "acting"
    assert standby.sent() == 0
    assert re.fullmatch(rf"{holder.name}_[0-9a-f-]{{36}}", beats.lease()["holderIdentity"])
    # A stopped standby is no standby.
    standby.process.send_signal(signal.SIGSTOP)
    wait_until(lambda: not standby.passes("alive"), "a failing liveness probe")


def test_one_that_leaves_hands_over_at_once(pair: tuple[OneBeat, OneBeat], beats: Beats, broker: Client) -> None:
    holder, standby = pair
    holder.process.terminate()
    assert holder.process.wait(30) == 0
    assert "gave the lease up" in holder.log.read_text()
    wait_until(sends(standby), "a task from the other one")
    assert twice(messages(broker, "celery")) == {}


@pytest.mark.slow
def test_a_stopped_beat_that_wakes_up_sends_nothing(
    pair: tuple[OneBeat, OneBeat], beats: Beats, broker: Client
) -> None:
    """Back and forth: each of the two is stopped while it acts, and let go when the other one does."""
    for holder, other in (pair, pair[::-1], pair):
        wait_until(sends(holder), "a task")
        holder.process.send_signal(signal.SIGSTOP)
        wait_until(sends(other), "a task from the other one")
        before = holder.sent()
        holder.process.send_signal(signal.SIGCONT)
        wait_until(lambda beat=holder: "standing by" in beat.says("ready"), "a standby again")
        wait_until(sends(other), "more tasks from the other one")
        assert holder.sent() == before
    assert twice(messages(broker, "celery")) == {}


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "shop-"])
def test_one_stopped_between_claim_and_message(
    beats: Beats, start: Callable[..., OneBeat], broker: Client, tmp_path: Path, prefix: str
) -> None:
    """The other one sends what was claimed. What the first one still has in hand is refused when it goes on."""
    year = datetime.datetime.now(datetime.UTC).year
    last = datetime.datetime(year - 2, 1, 1, 0, 0, 1, tzinfo=datetime.UTC).timestamp()
    record = {"due": last, "at": last, "since": last - 1, "sent": 1, "holder": "x", "runs": 1, "token": "x"}
    broker.hset(f"{prefix}{CLAIM}yearly", mapping=record)
    stop = tmp_path / "stop"
    stop.touch()
    settings = {"TURNS_ONLY": "yearly", "TURNS_STOP": str(stop), "TURNS_PREFIX": prefix}
    first = start(**settings)
    wait_until(lambda: not stop.exists(), "the moment after the claim")
    second = start(**settings)
    wait_until(sends(second), "the task from the other one")
    wait_until(lambda: broker.hget(f"{prefix}{CLAIM}yearly", "sent") == "1", "its note")
    due = f"{year}-01-01T00:00:00.000000+00:00"
    assert messages(broker, f"{prefix}celery") == [("yearly", due)]
    first.process.send_signal(signal.SIGCONT)
    wait_until(lambda: "this beat does not act any more" in first.log.read_text(), "the refusal")
    wait_until(first.stands_by, "a standby")
    assert messages(broker, f"{prefix}celery") == [("yearly", due)]
    told = second.log.read_text()
    assert re.search(
        rf"'yearly', due at {due[:19]}\S+, was claimed by {first.name}_\S+ and not sent; it is sent now", told
    )
    assert broker.hmget(f"{prefix}{CLAIM}yearly", "runs", "missed", "unsent") == ["2", "1", None]


@pytest.mark.slow
def test_one_killed_between_claim_and_message(
    beats: Beats, start: Callable[..., OneBeat], broker: Client, tmp_path: Path
) -> None:
    stop = tmp_path / "stop"
    first = start(TURNS_STOP=str(stop), TURNS_ONLY="often")
    wait_until(sends(first), "a task")
    stop.touch()
    wait_until(lambda: not stop.exists(), "the moment after the claim")
    first.process.kill()
    first.process.wait()
    claimed = broker.hget(CLAIM + "often", "due")
    assert broker.hget(CLAIM + "often", "sent") == "0"
    second = start(TURNS_ONLY="often")
    wait_until(sends(second), "the task from the other one")
    wait_until(lambda: broker.hget(CLAIM + "often", "due") != claimed, "a later claim")
    # Newer due times have come in between: the claimed one is missed, and that is told.
    assert "and not sent; it is missed" in second.log.read_text()
    assert broker.hget(CLAIM + "often", "unsent") == "1"
    assert twice(messages(broker, "celery")) == {}


@pytest.mark.slow
def test_without_the_api_server_nobody_acts_until_it_is_back(
    pair: tuple[OneBeat, OneBeat], beats: Beats, broker: Client, api_server: ApiServer
) -> None:
    holder, standby = pair
    wait_until(sends(holder), "a task")
    api_server.stop(kill=True)
    try:
        wait_until(lambda: holder.says().startswith("not acting, for the lease is not to be had"), "no more tasks")
        before = len(messages(broker, "celery"))
        wait_until(lambda: not holder.passes("ready") and not standby.passes("ready"), "failing readiness probes")
        # Nothing that a restart would mend.
        assert holder.passes("alive")
        assert standby.passes("alive")
        assert len(messages(broker, "celery")) == before
    finally:
        api_server.start()
    wait_until(lambda: len(messages(broker, "celery")) > before, "tasks again")
    wait_until(lambda: holder.passes("ready") and standby.passes("ready"), "passing readiness probes")
    assert twice(messages(broker, "celery")) == {}


@pytest.mark.slow
def test_one_that_is_cut_off_stops_before_the_other_one_begins(
    beats: Beats, start: Callable[..., OneBeat], broker: Client, api_server: ApiServer
) -> None:
    relay = Relay(api_server.port)
    holder = start(KUBERNETES_SERVICE_PORT=str(relay.port))
    wait_until(sends(holder), "a task")
    other = start()
    wait_until(other.stands_by, "a standby")
    relay.cut()
    wait_until(sends(other), "a task from the other one")
    before = holder.sent()
    assert holder.says().startswith("not acting")
    relay.mend()
    wait_until(holder.stands_by, "a standby again")
    relay.end()
    assert holder.sent() == before
    assert twice(messages(broker, "celery")) == {}


def test_a_lost_broker_costs_no_due_time(
    start: Callable[..., OneBeat], beats: Beats, redis: Redis, broker: Client
) -> None:
    """Without the broker nothing is claimed, so no run is counted: what is due stays due."""
    beat = start(TURNS_ONLY="often", CELERYOPS_LEASE="")
    wait_until(sends(beat), "a task")
    assert beat.says() == "ticking"
    redis.stop()
    wait_until(lambda: not beat.passes("ready"), "a failing readiness probe")
    wait_until(lambda: "no due time can be claimed" in beat.says(), "the reason")
    before = beat.sent()
    redis.start()
    wait_until(lambda: beat.sent() > before, "a task again")
    wait_until(lambda: beat.passes("ready"), "a passing readiness probe")
    # The server came back empty: no epoch, no claims, no messages.
    assert twice(messages(broker, "celery")) == {}


def test_an_elected_beat_goes_on_with_a_broker_that_lost_everything(
    pair: tuple[OneBeat, OneBeat], broker: Client
) -> None:
    holder, _standby = pair
    wait_until(sends(holder), "a task")
    broker.flushall()
    wait_until(sends(holder), "a task again")
    assert holder.passes("ready")


def test_a_user_without_scripts_sends_without_claims(
    start: Callable[..., OneBeat], redis: Redis, broker: Client
) -> None:
    broker.acl_setuser("plain", enabled=True, passwords=["+plain"], keys=["*"], categories=["+@all", "-@scripting"])
    beat = start(CELERYOPS_LEASE="", TINY_URL=f"redis://plain:plain@127.0.0.1:{redis.port}/0")
    wait_until(sends(beat), "a task")
    assert "due times are not claimed" in beat.log.read_text()
    assert beat.passes("ready")
