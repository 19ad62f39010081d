"""Work that is tried again, later each time: webhook deliveries and campaign messages."""

from datetime import datetime, timedelta
from typing import Any, Self

from django.db import models, transaction
from django.utils import timezone

MAX_ATTEMPTS = 8


class AttemptQuerySet(models.QuerySet):
    def claim(self, now: datetime, limit: int = 100) -> list[Any]:
        """Take due rows, so that no other worker has them, and count the attempt before it is made.

        The next attempt is dated at once: a worker that dies in the middle leaves a row that becomes due
        again, neither lost nor tried without end.
        """
        with transaction.atomic(using=self.db):
            due = self.filter(state=Attempt.State.PENDING, next_attempt_at__lte=now)
            rows = list(due.select_for_update(skip_locked=True, of=("self",)).order_by("next_attempt_at", "pk")[:limit])
            for row in rows:
                row.attempts += 1
                row.next_attempt_at = now + backoff(row.attempts)
            self.model.objects.bulk_update(rows, ["attempts", "next_attempt_at"])
        return rows


def backoff(attempts: int) -> timedelta:
    """1, 2, 4 ... minutes, an hour at most."""
    return timedelta(minutes=min(60, 2 ** (attempts - 1)))


class Attempt(models.Model):
    """Base of rows whose work may fail and is tried again."""

    class State(models.TextChoices):
        PENDING = "pending"
        DONE = "done"
        FAILED = "failed"

    state = models.CharField(max_length=8, choices=State, default=State.PENDING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = AttemptQuerySet.as_manager()

    class Meta:
        abstract = True

    def succeeded(self) -> Self:
        """Done for good."""
        self.state, self.finished_at, self.last_error = self.State.DONE, timezone.now(), ""
        self.save(update_fields=["state", "finished_at", "last_error"])
        return self

    def failed(self, error: str) -> Self:
        """Keep why; give up after MAX_ATTEMPTS."""
        self.last_error = error[:1000]
        if self.attempts >= MAX_ATTEMPTS:
            self.state, self.finished_at = self.State.FAILED, timezone.now()
        self.save(update_fields=["state", "finished_at", "last_error"])
        return self
