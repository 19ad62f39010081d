"""The Celery app, and the task by which a platform proves that it works."""

import os
import time
from typing import Any

from celery import Celery, Task

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("config")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="alert_tasks")
app.autodiscover_tasks(related_name="webhook_tasks")


@app.task(bind=True)
def debug_task(self: Task, hold: float = 0) -> dict[str, Any]:
    """Say who ran this task and how it came, having written to the database and to the broker.

    `hold` keeps the task running for so many seconds, for drills.
    """
    from apps.core.proof import prove_broker, prove_database  # noqa: PLC0415 - models load after this module

    time.sleep(hold)
    request = self.request
    delivery = request.delivery_info or {}
    return {
        "task_id": request.id,
        "hostname": request.hostname,
        "pid": os.getpid(),
        "queue": delivery.get("routing_key"),
        "priority": delivery.get("priority"),
        "redelivered": bool(delivery.get("redelivered")),
        "periodic_task_name": (request.headers or {}).get("periodic_task_name"),
        "database": prove_database(request.id, request.hostname),
        "broker": prove_broker(request.id),
    }
