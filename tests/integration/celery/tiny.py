# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Celery application that knows nothing of the probes: no Django, nothing of the reference app."""

import ctypes
import os
import signal
import time

from celery import Celery
from celery.worker.control import control_command

app = Celery("tiny", broker=os.environ["TINY_URL"], backend=os.environ["TINY_URL"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 5},
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    beat_schedule={
        "every second": {
            "task": "tiny.add",
            "schedule": 1.0,
            "args": (1, 2),
            "options": {"headers": {"periodic_task_name": "every second"}},
        }
    },
)


@app.task
def add(one, other):
    return one + other


@app.task
def hello():
    return "hello"


@app.task(time_limit=30)
def nap(seconds):
    time.sleep(seconds)
    return seconds


@app.task
def wedge(seconds):
    """Waits where no library of green threads can interrupt it."""
    ctypes.CDLL(None).sleep(seconds)


@app.task
def die():
    os.kill(os.getpid(), signal.SIGKILL)


@control_command()
def hang(state):
    """The consumer's loop never comes back from here."""
    time.sleep(3600)
