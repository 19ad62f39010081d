"""Queue `monitoring`: figures, health, and alerts from both."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta

from celery import shared_task
from django.conf import settings
from django.db import connections, transaction
from django.utils import timezone

from apps.core.broker import queue_lengths, redis_client
from apps.core.models import Alert, ServiceStatus, SystemMetric
from apps.core.timeslots import slot

METRIC_SLOT = timedelta(minutes=5)
METRIC_KEEP = timedelta(days=7)
ESCALATE_AFTER = timedelta(minutes=15)
LEAST_FREE = 0.05
"""A store with less than this part of its disk free raises an alert."""


@shared_task
def collect_system_metrics() -> dict[str, float]:
    """Record the figures of this slot, once, and drop those older than a week."""
    now = timezone.now()
    figures = dict(_figures())
    rows = [SystemMetric(name=k, value=v, recorded_at=slot(now, METRIC_SLOT)) for k, v in figures.items()]
    with transaction.atomic():
        SystemMetric.objects.bulk_create(rows, ignore_conflicts=True)
        SystemMetric.objects.filter(recorded_at__lt=now - METRIC_KEEP).delete()
    return figures


def _figures() -> Iterator[tuple[str, float]]:
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database()), count(*) FROM pg_stat_activity")
        size, sessions = cursor.fetchone()
    yield "database_bytes", float(size)
    yield "database_sessions", float(sessions)
    yield "redis_used_memory_bytes", float(redis_client().info("memory")["used_memory"])
    yield "store_free_ratio", _free_ratio()
    for queue, length in queue_lengths().items():
        yield f"queue_length:{queue}", float(length)


def _free_ratio() -> float:
    settings.BACKUP_DIR.mkdir(parents=True, exist_ok=True)
    usage = shutil.disk_usage(settings.BACKUP_DIR)
    return usage.free / usage.total


def _database(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        return "a replica answers, not the primary" if cursor.fetchone()[0] else ""


def _broker() -> str:
    role = redis_client().execute_command("ROLE")[0].decode()
    return "" if role == "master" else f"a {role} answers, not the master"


def _store() -> str:
    free = _free_ratio()
    return "" if free >= LEAST_FREE else f"{free:.0%} of the disk is free, {LEAST_FREE:.0%} expected"


CHECKS: dict[str, Callable[[], str]] = {
    "database-pooler": lambda: _database("default"),
    "database-direct": lambda: _database("direct"),
    "broker": _broker,
    "store": _store,
}
"""Service → check; a check returns what is wrong, or raises it, or returns an empty text."""


@shared_task
def check_service_health() -> dict[str, str]:
    """Check each service, keep its status, raise an alert for what is wrong.

    Without the pooler nothing can be recorded: then this task itself fails, which is as loud.
    """
    now = timezone.now()
    problems = {service: _problem(check) for service, check in CHECKS.items()}
    with transaction.atomic():
        for service, problem in problems.items():
            before = ServiceStatus.objects.select_for_update().filter(service=service).first()
            unchanged = before is not None and before.healthy == (not problem)
            since = before.since if before is not None and unchanged else now
            state = {"healthy": not problem, "detail": problem, "checked_at": now, "since": since}
            ServiceStatus.objects.update_or_create(service=service, defaults=state)
            if problem:
                Alert.raise_for(f"service:{service}", problem)
    return {service: problem or "healthy" for service, problem in problems.items()}


def _problem(check: Callable[[], str]) -> str:
    try:
        return check()
    except Exception as error:  # whatever a service's library raises is that service's problem
        return f"{type(error).__name__}: {error}"


@shared_task
def escalate_alerts() -> dict[str, int]:
    """Raise the level of alerts that nobody resolved for 15 minutes, and again, up to level 3."""
    now = timezone.now()
    with transaction.atomic():
        waiting = Alert.objects.select_for_update(skip_locked=True).filter(
            resolved_at__isnull=True, level__lt=Alert.MAX_LEVEL
        )
        due = [alert for alert in waiting if (alert.escalated_at or alert.opened_at) <= now - ESCALATE_AFTER]
        for alert in due:
            alert.level, alert.escalated_at = alert.level + 1, now
        Alert.objects.bulk_update(due, ["level", "escalated_at"])
    return {"escalated": len(due)}


@shared_task
def resolve_alerts() -> dict[str, int]:
    """Close the alerts of services that a check since found healthy."""
    healthy = ServiceStatus.objects.filter(healthy=True)
    resolved = sum(
        Alert.objects.filter(
            key=f"service:{status.service}", resolved_at__isnull=True, opened_at__lt=status.since
        ).update(resolved_at=timezone.now())
        for status in healthy
    )
    return {"resolved": resolved}
