# Copyright (c) 2026 The celeryops maintainers
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of several beats acts: what a Lease that was seen means, as functions of what was seen and when.

The rules are those of Kubernetes' own components. Times are seconds on this machine's clock since boot, which goes on
while a process is stopped; the times in the Lease are other machines' and are only compared for being equal.

- Whoever sees a Lease unchanged for its whole duration may take it. It was written before it was seen.
- Its holder acts until ``renew_within`` after it began to ask for the newest renewal that was granted: less than
  the duration, so it has stopped before anybody else may begin, whether or not it can still be reached.
- A Lease is only written over the version that was read: of two who take it at once, one does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ("Election", "Lease", "Timing")


@dataclass(frozen=True)
class Timing:
    """Seconds. The defaults are those of Kubernetes' own components."""

    duration: float = 15.0
    renew_within: float = 10.0
    retry: float = 2.0

    def __post_init__(self):
        if not 0 < self.retry < self.renew_within < self.duration:
            raise ValueError(
                f"expected 0 < retry < renew_within < duration, found {self.retry:g}, {self.renew_within:g} and "
                f"{self.duration:g} s: a holder must stop before another one may begin, and have time to try again"
            )
        if self.duration != int(self.duration):
            raise ValueError(f"expected a duration in whole seconds, as a Lease holds it, found {self.duration:g}")


@dataclass(frozen=True)
class Lease:
    """What a Lease says; an empty holder has given it up."""

    holder: str = ""
    duration: float = 0.0
    acquired: str = ""
    renewed: str = ""
    transitions: int = 0


@dataclass(frozen=True)
class Election:
    """One candidate's knowledge. ``until`` is when it stops acting, unless the Lease is renewed."""

    identity: str
    timing: Timing
    seen: Lease | None = None
    seen_at: float = 0.0
    until: float = 0.0

    def acts(self, now: float) -> bool:
        return now < self.until

    def observed(self, lease: Lease, now: float) -> Election:
        """The Lease was read; the answer came at ``now``."""
        mine = self.until if lease.holder == self.identity else 0.0
        if lease == self.seen:
            return replace(self, until=mine)
        return replace(self, seen=lease, seen_at=now, until=mine)

    def free_at(self) -> float:
        """When the Lease that was seen may be taken."""
        if self.seen is None or not self.seen.holder:
            return 0.0
        return self.seen_at + (self.seen.duration or self.timing.duration)

    def wanted(self, now: float, clock: str) -> Lease | None:
        """What to write over the Lease that was seen; None to go on waiting. ``clock`` is the time of day."""
        if self.seen is None:
            return None
        if self.seen.holder == self.identity:
            return replace(self.seen, duration=self.timing.duration, renewed=clock)
        if now < self.free_at():
            return None
        return Lease(self.identity, self.timing.duration, clock, clock, self.seen.transitions + 1)

    def granted(self, lease: Lease, asked_at: float) -> Election:
        """The Lease was written; the request began at ``asked_at``."""
        return replace(self, seen=lease, seen_at=asked_at, until=asked_at + self.timing.renew_within)

    def given_up(self) -> Lease | None:
        """What to write when this one leaves, so that nobody has to wait; None where there is nothing to give up."""
        if self.seen is None or self.seen.holder != self.identity:
            return None
        # As Kubernetes does: an empty holder, and a duration that is over at once.
        return replace(self.seen, holder="", duration=1.0)
