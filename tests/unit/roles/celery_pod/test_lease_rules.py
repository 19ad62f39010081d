# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who acts, as a function of what was seen and when; and never two at a time, whatever happens to them."""

from __future__ import annotations

import importlib
import random
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FILES = Path(__file__).resolve().parents[4] / "roles/celery_pod/files"
sys.path.insert(0, str(FILES))
election = importlib.import_module("celeryops_probe.election")
Election, Lease, Timing = election.Election, election.Lease, election.Timing

TIMING = Timing(15, 10, 2)
OTHERS = Lease("other", 15.0, "12:00", "12:00", 4)


def one(**given: Any) -> Any:
    return Election("one", TIMING, **given)


def test_nothing_is_written_before_anything_was_read() -> None:
    assert one().wanted(1e9, "12:00") is None
    assert not one().acts(0)


@pytest.mark.parametrize("empty", [Lease(), Lease("", 1.0, "11:00", "11:00", 4)])
def test_a_lease_that_nobody_holds_is_taken_at_once(empty: Any) -> None:
    wanted = one().observed(empty, 100).wanted(100, "12:00")
    assert wanted == Lease("one", 15, "12:00", "12:00", empty.transitions + 1)


def test_another_ones_is_taken_when_it_was_seen_unchanged_for_its_whole_duration() -> None:
    seen = one().observed(OTHERS, 100)
    again = seen.observed(OTHERS, 114.9)
    assert again.wanted(114.9, "12:00") is None
    assert again.wanted(115, "12:00") == Lease("one", 15, "12:00", "12:00", 5)
    renewed = again.observed(Lease("other", 15.0, "12:00", "12:02", 4), 114.9)
    assert renewed.wanted(129.8, "12:00") is None
    assert renewed.wanted(129.9, "12:00") is not None


def test_its_own_duration_counts_where_the_lease_has_none_and_the_leases_where_it_has() -> None:
    assert one().observed(Lease("other"), 100).free_at() == 115
    assert one().observed(Lease("other", 60.0), 100).free_at() == 160


def test_it_acts_from_when_it_is_granted_until_that_is_too_long_ago() -> None:
    """Counted from before the request: whoever may take the Lease saw it later."""
    seen = one().observed(Lease(), 100)
    assert not seen.acts(100)
    acting = seen.granted(seen.wanted(100, "12:00"), 100)
    assert acting.acts(109.9)
    assert not acting.acts(110)


def test_a_renewal_keeps_all_but_the_time() -> None:
    acting = one().observed(Lease(), 100).granted(Lease("one", 15, "12:00", "12:00", 1), 100)
    assert acting.wanted(102, "12:02") == Lease("one", 15, "12:00", "12:02", 1)
    # Also when it has been silent for long and nobody took the Lease.
    assert acting.observed(acting.seen, 1000).wanted(1000, "13:00") == Lease("one", 15, "12:00", "13:00", 1)


def test_whoever_sees_another_holder_acts_no_more() -> None:
    acting = one().observed(Lease(), 100).granted(Lease("one", 15, "12:00", "12:00", 1), 100)
    assert not acting.observed(OTHERS, 101).acts(101)


def test_only_its_own_is_given_up() -> None:
    assert one().given_up() is None
    assert one().observed(OTHERS, 1).given_up() is None
    acting = one().observed(Lease(), 100).granted(Lease("one", 15, "12:00", "12:00", 1), 100)
    assert acting.given_up() == Lease("", 1.0, "12:00", "12:00", 1)


@pytest.mark.parametrize(
    ("duration", "renew", "retry"), [(15, 15, 2), (15, 10, 10), (15, 10, 0), (10, 15, 2), (1.5, 1, 0.5)]
)
def test_times_that_cannot_work_are_refused(duration: float, renew: float, retry: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Timing(duration, renew, retry)


# As tight as can be, so that little is needed to break it.
TIGHT = Timing(3, 2.95, 0.1)


@dataclass
class Server:
    """The Lease, and its version."""

    lease: Any = field(default_factory=Lease)
    version: int = 0


@dataclass
class Candidate:
    """One that looks at the server, with answers that come late or never, and is stopped now and then."""

    election: Any
    read: int = -1
    next_turn: float = 0.0
    pending: tuple[float, Any, float] | None = None

    def turn(self, server: Server, now: float, chance: random.Random) -> None:
        if self.pending is not None:
            arrives, granted, asked_at = self.pending
            if now < arrives:
                return
            self.pending = None
            if granted is not None:
                self.election = self.election.granted(granted, asked_at)
            return
        if now < self.next_turn:
            return
        self.next_turn = now + TIGHT.retry * (1 + chance.random() / 5)
        if chance.random() < 0.1:
            # Stopped, or cut off, for anything up to twice the duration.
            self.next_turn = now + chance.random() * 2 * TIGHT.duration
            return
        self.election = self.election.observed(server.lease, now)
        self.read = server.version
        wanted = self.election.wanted(now, f"{now:.3f}")
        if wanted is None:
            return
        # The request is under way, and so is its answer, which may be lost.
        granted = None
        if server.version == self.read:
            server.lease, server.version = wanted, server.version + 1
            granted = wanted
        lost = chance.random() < 0.1
        self.pending = (now + chance.random(), None if lost else granted, now)


@pytest.mark.parametrize("seed", range(20))
def test_never_two_at_a_time(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    server, now = Server(), 0.0
    candidates = [Candidate(Election(f"candidate {number}", TIGHT)) for number in range(3)]
    acted: set[str] = set()
    for _ in range(20000):
        now += 0.05
        for candidate in chance.sample(candidates, len(candidates)):
            candidate.turn(server, now, chance)
        acting = [each.election.identity for each in candidates if each.election.acts(now)]
        assert len(acting) <= 1, f"{acting} at {now:.2f} s"
        acted.update(acting)
    assert len(acted) == len(candidates)
