"""The Celery app, and the task by which a platform proves that it works."""

import logging
import os
import time
from typing import Any

from celery import Celery, Task, signals

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

logger = logging.getLogger(__name__)
app = Celery("config", task_cls="config.tasks:ShopTask")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.autodiscover_tasks(related_name="alert_tasks")
app.autodiscover_tasks(related_name="webhook_tasks")


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_what_the_checks_refuse(**_: Any) -> None:
    """Show what Django's system checks say, and end on an error. Celery runs them and looks at nothing."""
    from django.core.checks import run_checks  # noqa: PLC0415 - needs the apps, which load after this module

    messages = [message for message in run_checks() if not message.is_silenced()]
    serious = [message for message in messages if message.is_serious()]
    for message in messages:
        if message not in serious:
            logger.log(message.level, "%s", message)
    if serious:
        # Logging may be what is wrong: these words go to stderr, whatever LOGGING says.
        raise SystemExit("\n".join(map(str, serious)))


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
