# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference application's beats are killed, again and again: another one goes on, and nothing is sent twice.

They write their last runs every three minutes, as is the default, so what the database knows is old whenever one dies.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from beat_place import PASSWORD, PROJECT, Place
from helpers.apiserver import ApiServer
from helpers.beats import FILES, Beats, OneBeat, make_lease, messages, twice
from helpers.servers import wait_until
from test_beat_schedule import entry

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

KILLS = 20
ENTRIES = [
    entry("every second", queue="pricing"),
    entry("three a second", interval={"every": 300000, "period": "microseconds"}, queue="pricing"),
    entry("every minute", cron="* * * * *", queue="pricing"),
]
QUEUES = ["pricing", *(f"pricing\x06\x16{step}" for step in range(1, 10))]
FLAGS = ("--scheduler=django_celery_beat.schedulers:DatabaseScheduler",)


@pytest.fixture
def broker(redis_port: int) -> Iterator[redis.Redis]:
    with redis.Redis(port=redis_port, password=PASSWORD) as client:
        client.flushall()
        yield client


@pytest.fixture
def beats(
    broker: redis.Redis, migrated: Place, api: Api, api_server: ApiServer, namespace: str, tmp_path: Path
) -> Iterator[Beats]:
    migrated.ask("schedule", entries=ENTRIES)
    environment = {**migrated.environment, "PYTHONPATH": str(FILES)}
    found = Beats(tmp_path, ["-A", "config"], PROJECT, environment, api, namespace)
    yield found
    found.end()


@pytest.fixture
def elected(beats: Beats, api_server: ApiServer, tmp_path: Path) -> Beats:
    beats.environment |= make_lease(beats.api, api_server, beats.namespace, tmp_path / "account")
    return beats


def last_due(broker: redis.Redis) -> dict[str, str]:
    return dict(messages(broker, *QUEUES))


def kill(beat: OneBeat) -> None:
    """Once it has sent something, so that there is something to be sent again."""
    before = beat.sent()
    wait_until(lambda: beat.sent() > before + 2, f"tasks from {beat.name}")
    beat.process.send_signal(signal.SIGKILL)
    beat.process.wait()


def take_over(beats: Beats, broker: redis.Redis, killed: list[str]) -> float:
    """Kills the one that acts; how many seconds it took until another one had sent something."""
    holder = beats.holder()
    assert holder is not None
    wait_until(lambda: any(beat.stands_by() for beat in beats.alive() if beat is not holder), "a standby")
    kill(holder)
    began = time.monotonic()
    killed.append(holder.name)
    known = last_due(broker)
    beats.start(*FLAGS)

    def goes_on() -> bool:
        found = beats.holder()
        return found is not None and found.name not in killed and last_due(broker) != known

    wait_until(goes_on, f"another beat than {holder.name}")
    return time.monotonic() - began


@pytest.mark.slow
def test_twenty_kills(elected: Beats, broker: redis.Redis) -> None:
    for _ in range(3):
        elected.start(*FLAGS)
    wait_until(lambda: elected.holder() is not None, "a beat that acts")
    killed: list[str] = []
    seconds = sorted(take_over(elected, broker, killed) for _ in range(KILLS))
    print("takeovers after SIGKILL, in seconds:", *(f"{one:.1f}" for one in seconds))
    elected.end()
    sent = messages(broker, *QUEUES)
    assert {name for name, _due in sent} == {"every second", "three a second", "every minute"}
    assert twice(sent) == {}
    assert len(set(killed)) == KILLS
    assert elected.lease()["leaseTransitions"] >= KILLS + 1
    # What passed in between is told, by whoever went on and in the broker.
    assert any("'every second' missed " in beat.log.read_text() for beat in elected.running)
    assert int(broker.hget("celeryops:beat:config:claim:every second", "missed") or 0) > 0


@pytest.mark.slow
def test_a_beat_alone_is_killed_and_comes_back(beats: Beats, broker: redis.Redis) -> None:
    """One replica, recreated: no lease, no standby, and still nothing is sent twice."""
    for _ in range(3):
        beat = beats.start(*FLAGS)
        kill(beat)
        assert beat.says().startswith("ticking")
    sent = messages(broker, *QUEUES)
    # Of the three that each has begun to send, the last one may not have been.
    assert len(sent) >= 6
    assert twice(sent) == {}


@pytest.mark.slow
def test_two_that_stand_alone_still_send_nothing_twice(beats: Beats, broker: redis.Redis) -> None:
    """Nobody wants that; it happens where a node is cut off, or where somebody starts a beat by hand."""
    both = [beats.start(*FLAGS) for _ in range(2)]
    wait_until(lambda: all(beat.sent() > 5 for beat in both), "tasks from both")
    beats.end()
    sent = messages(broker, *QUEUES)
    assert len(sent) > 6
    assert twice(sent) == {}
