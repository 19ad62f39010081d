"""A task that takes its process down, as one that eats too much memory does."""

import os
import signal

from celery import shared_task


@shared_task
def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
