"""What happens to a task whose process dies or whose broker is lost."""

import logging
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.exceptions import BackendError
from celery.worker import request, state
from django.conf import settings
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


class WorkerDiedError(Exception):
    """A task was given up because its process died each time it ran."""


class Request(request.Request):
    """A request that survives the broker, and stops coming back when it takes its process down.

    With late acknowledgement and reject_on_worker_lost a task whose process dies is delivered again, at once
    and without end, when it is the task that kills it, for example by its appetite for memory. Here the
    deaths are counted in the result backend, where every worker sees them, and the task fails after the cap.
    The death of a whole worker is not counted: that message returns by the visibility timeout.
    """

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        exception = exc_info.exception
        exception = getattr(exception, "exc", exception)  # billiard wraps it to carry the traceback
        if isinstance(exception, WorkerLostError) and self.task.reject_on_worker_lost and not _stopping():
            deaths = self._count_death()
            if deaths > settings.REDELIVERY_CAP:
                exc_info = _given_up(f"its process died {deaths} times, last: {exception}")
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _announce_cancelled(self, emit_retry: bool = True) -> None:
        """Note the cancellation, as far as the backend can be reached.

        When the broker is lost, running tasks that cannot be acknowledged any more are cancelled, and their
        state is written to the result backend. That is the same Redis here, and the error ended the worker.
        """
        try:
            super()._announce_cancelled(emit_retry)
        except (RedisError, BackendError, OSError) as error:
            logger.warning("task %s was cancelled, which cannot be recorded: %s", self.id, error)
        self._already_cancelled = True

    def _count_death(self) -> int:
        key = f"task-deaths:{self.id}"
        try:
            client = self.task.backend.client
            deaths = int(client.incr(key))
            client.expire(key, settings.VISIBILITY_TIMEOUT * 2)
        except RedisError as error:
            logger.warning("cannot count the deaths of task %s: %s", self.id, error)
            return 0
        return deaths


def _stopping() -> bool:
    """A worker that shuts down ends its processes itself."""
    return any(flag not in (None, False) for flag in (state.should_stop, state.should_terminate))


def _given_up(reason: str) -> ExceptionInfo:
    try:
        raise WorkerDiedError(reason)
    except WorkerDiedError:
        return ExceptionInfo()
