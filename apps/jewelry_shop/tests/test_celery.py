"""Real workers and a real beat: order, queues, proof, and what they survive."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import DEADLINE, PASSWORD, Program, free_port, redis_server, wait_until

QUIET = ("--without-gossip", "--without-mingle")
DEBUG = "config.celery.debug_task"
ROUTED = {
    "apps.backups.tasks.backup_database": ("backups", 10),
    "apps.notifications.tasks.send_campaigns": ("notifications", 5),
    "apps.pricing.tasks.fetch_gold_rates": ("pricing", 8),
    "apps.reporting.tasks.run_scheduled_reports": ("reports", 7),
    "apps.accounting.tasks.run_monthly_depreciation": ("accounting", 8),
    "apps.core.alert_tasks.check_service_health": ("monitoring", 9),
    "apps.core.webhook_tasks.retry_failed_deliveries": ("webhooks", 8),
    DEBUG: ("celery", 5),
}


@pytest.fixture
def app(project: Any) -> Iterator[Any]:
    yield project
    with project.connection_for_write() as connection:
        connection.default_channel.client.flushdb()


def send(app: Any, name: str = DEBUG, **options: Any) -> Any:
    return app.send_task(name, **options)


def test_declared_priorities_become_those_of_redis() -> None:
    from config.priorities import redis_priority

    assert [redis_priority(declared) for declared in range(10, -1, -1)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9]


@pytest.mark.parametrize("wrong", [-1, 11, 5.0, "5", True, None])
def test_other_priorities_are_refused(wrong: Any) -> None:
    from config.priorities import redis_priority

    with pytest.raises(ValueError, match="expected an integer from 0"):
        redis_priority(wrong)


@pytest.mark.parametrize("how", ["send_task", "apply_async"])
@pytest.mark.parametrize(("name", "queue", "declared"), [(n, q, p) for n, (q, p) in ROUTED.items()])
def test_a_task_goes_where_its_route_says(app: Any, how: str, name: str, queue: str, declared: int) -> None:
    from config.priorities import redis_priority

    app.send_task(name) if how == "send_task" else app.tasks[name].apply_async()
    step = redis_priority(declared)
    key = f"{queue}\x06\x16{step}" if step else queue
    with app.connection_for_write() as connection:
        (message,) = connection.default_channel.client.lrange(key, 0, -1)
    properties = json.loads(message)["properties"]
    assert (properties["priority"], properties["delivery_info"]["routing_key"]) == (step, queue)


def test_an_unknown_queue_is_refused_by_the_sender(app: Any) -> None:
    from celery.exceptions import QueueNotFound

    with pytest.raises(QueueNotFound, match="'backup' missing"):
        send(app, queue="backup")


def test_the_more_urgent_runs_first(app: Any, celery: Callable[..., Program]) -> None:
    """Sent least urgent first, and run by a worker of one process that starts afterwards."""
    from config.priorities import redis_priority

    sent = {d: send(app, queue="backups", priority=redis_priority(d)) for d in range(1, 11)}
    celery("worker", "--pool=solo", "--queues=backups", *QUIET)
    for result in sent.values():
        result.get(timeout=DEADLINE)
    assert sorted(sent, key=lambda declared: sent[declared].date_done) == list(range(10, 0, -1))


def test_each_queue_is_served_and_the_task_proves_its_writes(app: Any, celery: Callable[..., Program]) -> None:
    from django.conf import settings

    worker = celery("worker", "--concurrency=2", "--loglevel=info", "--hostname=w@host", *QUIET)
    for queue in settings.QUEUES:
        done = send(app, queue=queue).get(timeout=DEADLINE)
        assert (done["queue"], done["hostname"]) == (queue, "w@host")
        assert done["database"] == {"written_and_read": True, "role": "primary"}
        assert done["broker"] == {"written_and_read": True, "role": "master"}
    assert worker.says("w@host ready.")
    assert worker.says(f"Task {DEBUG}")
    assert PASSWORD not in worker.log.read_text()


def test_what_beat_sends_carries_its_entry_s_name(app: Any, celery: Callable[..., Program]) -> None:
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every_second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    entry = PeriodicTask.objects.create(name="proof", task=DEBUG, interval=every_second, queue="monitoring", priority=1)
    try:
        beat = celery("beat", "--loglevel=info", "--schedule=unused")
        wait_until(lambda: beat.says("schedulers.DatabaseScheduler") and queued(app), "a message")
        celery("worker", "--pool=solo", "--queues=monitoring", *QUIET)
        task_id = json.loads(queued(app)[0])["headers"]["id"]
        done = app.AsyncResult(task_id).get(timeout=DEADLINE)
        assert (done["periodic_task_name"], done["priority"]) == ("proof", 1)
    finally:
        entry.delete()


def client(url: str) -> Any:
    """A plain Celery app for another broker than the project's."""
    from celery import Celery

    from config.env import url_with_password

    address = url_with_password(url, PASSWORD)
    other = Celery("client", set_as_current=False)
    # The project's settings are in this process's environment, which Celery prefers.
    other.conf.broker_read_url = other.conf.broker_write_url = address
    other.conf.update(broker_transport_options={"priority_steps": list(range(10))})
    other.backend_cls = address
    return other


def queued(app: Any) -> list[bytes]:
    with app.connection_for_write() as connection:
        return connection.default_channel.client.lrange("monitoring\x06\x161", 0, -1)


def test_a_task_that_kills_its_process_is_given_up(app: Any, celery: Callable[..., Program]) -> None:
    poison = send(app, "poison.die")
    celery("worker", "--concurrency=1", "--include=poison", *QUIET, CELERY_REDELIVERY_CAP="1")
    reason = poison.get(timeout=DEADLINE, propagate=False)
    assert type(reason).__name__ == "WorkerDiedError"
    assert "died 2 times, last: Worker exited prematurely: signal 9" in str(reason)
    assert send(app).get(timeout=DEADLINE)["queue"] == "celery", "the worker goes on"


@pytest.mark.parametrize("program", ["worker", "beat"])
def test_what_the_checks_refuse_is_said_whatever_logging_says(celery: Callable[..., Program], program: str) -> None:
    """Logging itself is refused here, and would have swallowed why."""
    refused = celery(program, DJANGO_SETTINGS_MODULE="silent")
    assert refused.process.wait(DEADLINE) == 1
    assert "shop.E001" in refused.log.read_text()


def test_a_worker_survives_a_broker_restart_with_a_task_in_flight(
    celery: Callable[..., Program], tmp_path: Path
) -> None:
    """Celery 5.7.0 dies when the task ends, and 5.6.3 when it cannot record that it cancelled the task."""
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    persistent = ("--appendonly", "yes", "--appendfsync", "always")
    where = {"CELERY_BROKER_URL": url, "CELERY_RESULT_BACKEND": url}
    sender = client(url)
    with redis_server(port, tmp_path, *persistent):
        worker = celery("worker", "--concurrency=2", "--loglevel=info", *QUIET, **where)
        wait_until(lambda: worker.says("ready."), "the worker")
        sender.send_task(DEBUG, kwargs={"hold": DEADLINE})
        wait_until(lambda: worker.says(f"Task {DEBUG}"), "the task")
    wait_until(lambda: worker.says("was cancelled, which cannot be recorded"), "the loss")
    with redis_server(port, tmp_path, *persistent):
        done = sender.send_task(DEBUG).get(timeout=DEADLINE)  # not in the assert, which would keep the result
        assert done["broker"]["written_and_read"]
        assert sender.connection().default_channel.client.hlen("unacked"), "the task waits to be delivered again"
        worker.process.terminate()
        assert worker.process.wait(DEADLINE) == 0
