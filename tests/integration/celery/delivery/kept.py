# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Celery application whose tasks write down that they ran. It knows nothing of leases and dead letters."""

import ctypes
import json
import logging
import os
import signal
import time

import redis
from billiard.pool import READY
from celery import Celery, bootsteps
from celery.concurrency.asynpool import ResultHandler

NOTES = os.environ["KEPT_URL"]
app = Celery("kept", broker=os.environ.get("KEPT_BROKER", NOTES), backend=os.environ.get("KEPT_BACKEND", NOTES))
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
        "priority_steps": list(range(10)),
        "visibility_timeout": 3600,
        **json.loads(os.environ.get("KEPT_OPTIONS", "{}")),
    },
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue="a",
    worker_prefetch_multiplier=1,
    worker_cancel_long_running_tasks_on_connection_loss=False,
)


def terminate_while_reading(receive=ResultHandler._recv_message):
    """SIGTERM comes when the first result has been read from the child, and nothing was done with it yet."""
    once = [signal.SIGTERM]

    def interrupted(self, add_reader, fd, callback):
        def handed_over(message):
            if message[0] == READY and once:
                os.kill(os.getpid(), once.pop())
            callback(message)

        return receive(self, add_reader, fd, handed_over)

    ResultHandler._recv_message = interrupted


if "KEPT_TERMINATE" in os.environ:
    terminate_while_reading()


class Deafened(bootsteps.StartStopStep):
    """The subscription is made anew once, as redis-py does it by itself when its sign of life fails."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, consumer):
        consumer.timer.call_after(3, consumer.call_soon, (self.reconnect, consumer))

    @staticmethod
    def reconnect(consumer):
        for channel in consumer.connection.transport.cycle._channels:
            if client := channel.__dict__.get("subclient"):
                client.connection.disconnect()
                client.connection.connect()
                logging.getLogger("kept").warning("deafened")


if "KEPT_DEAF" in os.environ:
    app.steps["consumer"].add(Deafened)


def note(task, what):
    line = {
        "what": what,
        "worker": task.request.hostname,
        "pid": os.getpid(),
        "redelivered": bool(task.request.delivery_info.get("redelivered")),
    }
    redis.Redis.from_url(NOTES).rpush(f"ran:{task.request.id}", json.dumps(line))


@app.task(bind=True)
def work(self, seconds):
    note(self, "started")
    time.sleep(seconds)
    note(self, "finished")
    return seconds


@app.task(bind=True)
def wedge(self, seconds):
    """Waits where no library of green threads can interrupt it."""
    note(self, "started")
    ctypes.CDLL(None).sleep(seconds)
    note(self, "finished")


@app.task(bind=True)
def kill_process(self, *_args, **_kwargs):
    note(self, "started")
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(bind=True)
def kill_worker(self, after=0.0):
    """Takes the whole worker along, as a task does that eats the memory of its pod."""
    note(self, "started")
    time.sleep(after)
    os.killpg(0, signal.SIGKILL)


@app.task
def hold(hold=0):
    """Any task of any application: it writes nothing down."""
    time.sleep(hold)
