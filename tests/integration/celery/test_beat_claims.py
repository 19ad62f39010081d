# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scripts of the claims on a real Redis: what is granted, what is refused, and what a message goes with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery_running import FILES, PASSWORD, Redis
from redis import Redis as Client

sys.path.insert(0, str(FILES))

from celeryops_probe.claims import Claim, ClaimError, Claims, Fenced, NotSent, Record, _guard
from kombu.transport.redis import Channel

# The entry's last run, its due time and the next one; claims are made later than all of them.
LAST, DUE, NEXT = 1000.0, 1060.0, 1120.0


@pytest.fixture
def broker(redis: Redis) -> Iterator[Client]:
    with Client(port=redis.port, password=PASSWORD, decode_responses=True) as client:
        yield client


@pytest.fixture
def app(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Celery]:
    # What the hook does to beat's process is not for the process of the tests.
    monkeypatch.setattr(Channel, "conn_or_acquire", Channel.conn_or_acquire)
    _guard(Channel)
    with Celery("claims", broker=redis.url, set_as_current=False) as found:
        yield found


@pytest.fixture
def make(app: Celery) -> Iterator[Callable[..., Claims]]:
    made = []

    def run(holder: str, *, elected: bool = True) -> Claims:
        made.append(Claims(app, holder, elected))
        made[-1].begin()
        return made[-1]

    yield run
    for each in made:
        each.close()


def send(claims: Claims, claim: Claim, allowed: bool = True) -> None:
    with claims.sending(claim, lambda: allowed):
        claims.app.send_task("some.task", queue="q")


def granted(found: Any) -> Claim:
    assert isinstance(found, Claim)
    return found


def test_a_due_time_is_sent_once(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    send(claims, granted(claims.claim("entry", LAST, DUE, 1)))
    found = claims.claim("entry", LAST, DUE, 1)
    assert isinstance(found, Record)
    assert (found.due, found.sent, found.holder, found.runs, found.since) == (DUE, True, "one", 1, LAST)
    # By the same last run, no later due time either: the run that there was is to be learned first.
    assert isinstance(claims.claim("entry", LAST, NEXT, 1), Record)
    send(claims, granted(claims.claim("entry", found.at, found.at + 60, 2)))
    assert broker.llen("q") == 2
    assert claims.records(["entry", "other"])[0].runs == 2
    assert claims.records(["entry", "other"])[1] is None


def test_what_was_claimed_and_not_sent_is_another_ones_to_send(make: Callable[..., Claims], broker: Client) -> None:
    first = make("one")
    claim = granted(first.claim("entry", LAST, DUE, 1))
    second = make("two")
    other = granted(second.claim("entry", LAST, DUE, 1))
    assert other.before is not None
    assert (other.before.holder, other.before.sent) == ("one", False)
    send(second, other)
    with pytest.raises(NotSent, match="another beat was elected"):
        send(first, claim)
    assert broker.llen("q") == 1
    with pytest.raises(Fenced):
        first.claim("other", LAST, DUE, 1)


def test_without_an_election_the_claim_itself_decides(make: Callable[..., Claims], broker: Client) -> None:
    first, second = make("one", elected=False), make("two", elected=False)
    claim = granted(first.claim("entry", LAST, DUE, 1))
    send(second, granted(second.claim("entry", LAST, DUE, 1)))
    with pytest.raises(NotSent, match="another beat claimed it"):
        send(first, claim)
    assert broker.llen("q") == 1


def test_an_answer_that_was_lost_sends_nothing_again(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    claim = granted(claims.claim("entry", LAST, DUE, 1))
    send(claims, claim)
    send(claims, claim)
    assert broker.llen("q") == 1


def test_who_must_not_act_sends_nothing(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    with pytest.raises(NotSent, match="does not act"):
        send(claims, granted(claims.claim("entry", LAST, DUE, 1)), allowed=False)
    assert broker.llen("q") == 0
    assert broker.hget("celeryops:beat:claims:claim:entry", "sent") == "0"


def test_a_task_that_went_another_way_is_noted(make: Callable[..., Claims]) -> None:
    claims = make("one")
    with claims.sending(granted(claims.claim("entry", LAST, DUE, 1)), lambda: True):
        pass
    assert isinstance(claims.claim("entry", LAST, DUE, 1), Record)


def test_only_the_first_message_goes_with_the_note(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    with claims.sending(granted(claims.claim("entry", LAST, DUE, 1)), lambda: True):
        for _ in range(3):
            claims.app.send_task("some.task", queue="q")
    claims.app.send_task("some.task", queue="q")
    assert broker.llen("q") == 4


def test_missed_and_unsent_are_counted_once(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    for _ in range(2):
        # Claimed again by itself, for it could not be sent.
        claim = granted(claims.claim("entry", LAST, DUE, 1, missed=3))
    counts = "celeryops:beat:claims:claim:entry", "missed", "unsent"
    assert broker.hmget(*counts) == ["3", None]
    claim = granted(claims.claim("entry", LAST, NEXT, 1, missed=4))
    assert broker.hmget(*counts) == ["7", "1"]
    send(claims, claim)
    assert broker.hmget(*counts) == ["7", "1"]


def test_what_comes_once_is_forgotten_sooner(make: Callable[..., Claims], broker: Client) -> None:
    claims = make("one")
    claims.claim("once", LAST, DUE, 1, once=True)
    claims.claim("again", LAST, DUE, 1)
    once, again = (broker.ttl(f"celeryops:beat:claims:claim:{name}") for name in ("once", "again"))
    assert 0 < once <= 86400 < again


def test_a_broker_that_is_gone_is_told_and_found_again(make: Callable[..., Claims], redis: Redis) -> None:
    claims = make("one", elected=False)
    granted(claims.claim("entry", LAST, DUE, 1))
    redis.stop()
    with pytest.raises(ClaimError, match="Connection"):
        claims.claim("entry", LAST, DUE, 1)
    redis.start()
    granted(claims.claim("entry", LAST, DUE, 1))


def test_a_replica_grants_nothing(redis: Redis, replica: Redis) -> None:
    with Celery("claims", broker=replica.url, set_as_current=False) as app:
        claims = Claims(app, "one", elected=False)
        with pytest.raises(ClaimError, match="read only"):
            claims.claim("entry", LAST, DUE, 1)
        claims.close()
