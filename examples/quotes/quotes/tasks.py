"""One task for each queue. Each says who ran it; `hold` keeps it running for so many seconds."""

import os
import time

import psycopg
from celery import Task

from quotes.app import app


def where(task: Task, hold: float) -> dict[str, str]:
    time.sleep(hold)
    return {"worker": task.request.hostname, "queue": task.request.delivery_info["routing_key"]}


@app.task(bind=True)
def edit(self: Task, hold: float = 0) -> dict[str, str]:
    return where(self, hold)


@app.task(bind=True)
def render(self: Task, hold: float = 0) -> dict[str, str]:
    return where(self, hold)


@app.task(bind=True)
def mail(self: Task, hold: float = 0) -> dict[str, str]:
    return where(self, hold)


@app.task(bind=True)
def fetch(self: Task, hold: float = 0) -> dict[str, str]:
    return where(self, hold)


@app.task(bind=True)
def notify(self: Task, hold: float = 0) -> dict[str, str]:
    return where(self, hold)


@app.task
def archive(lock: int) -> str:
    """Take a lock of the database that QUOTES_DATABASE names, which may take a while, and let it go."""
    with psycopg.connect(os.environ["QUOTES_DATABASE"]) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
    return "archived"
