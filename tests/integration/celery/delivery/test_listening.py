# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker answers remote control after its subscription was made anew beneath kombu, and after a broker's restart."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from celery_running import Redis
from delivery_running import Book, Worker, send
from helpers.servers import wait_until
from redis import RedisError

Fleet = Callable[..., Worker]


def answers(kept: Any) -> bool:
    # Its own connection may be one that the broker has closed.
    with contextlib.suppress(RedisError):
        return bool(kept.control.ping(timeout=1))
    return False


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_subscription_that_was_made_anew(fleet: Fleet, kept: Any, book: Book, pool: str) -> None:
    first = fleet("first", f"--pool={pool}", KEPT_DEAF="1")
    wait_until(lambda: "deafened" in first.log, "a subscription that nobody waits at")
    wait_until(lambda: answers(kept), "an answer to a ping")
    assert "remote control does not listen any more" in first.log
    book.wait_finished(send(kept, "work", 0))


@pytest.mark.slow
def test_subscription_that_works_is_left_alone(fleet: Fleet, kept: Any, redis: Redis) -> None:
    """A worker looks ten times as often as usual here."""
    first = fleet("first", CELERYOPS_INTERVAL="0.1")
    assert answers(kept)
    redis.stop()
    wait_until(lambda: "keeper has lost its broker" in first.log, "a worker that noticed")
    redis.start()
    wait_until(lambda: first.running.passes("ready"), "a worker that consumes again")
    wait_until(lambda: answers(kept), "an answer to a ping")
    assert "does not listen" not in first.log
