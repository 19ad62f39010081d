# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An application without Django whose beats take turns, and which stops its own beat at the worst of moments."""

import os
import pathlib
import signal

from celery import Celery
from celery.schedules import crontab
from celery.signals import before_task_publish

app = Celery("turns", broker=os.environ["TINY_URL"])
app.conf.update(
    broker_transport_options={
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "global_keyprefix": os.environ.get("TURNS_PREFIX", ""),
    },
    beat_schedule={
        "often": {"task": "turns.nothing", "schedule": 0.5},
        "yearly": {"task": "turns.nothing", "schedule": crontab(minute=0, hour=0, day_of_month=1, month_of_year=1)},
    },
)
if only := os.environ.get("TURNS_ONLY"):
    app.conf.beat_schedule = {only: app.conf.beat_schedule[only]}


@app.task
def nothing():
    pass


@before_task_publish.connect
def stop(**_):
    """A due time is claimed, its message is made, and nothing is sent yet."""
    if (path := os.environ.get("TURNS_STOP")) and pathlib.Path(path).exists():
        pathlib.Path(path).unlink()
        os.kill(os.getpid(), signal.SIGSTOP)
