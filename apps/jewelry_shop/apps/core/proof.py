"""Writes that are read back: the only proof that a database or a broker takes writes."""

import uuid
from typing import Any

from django.db import connection

from apps.core.broker import redis_client
from apps.core.models import WriteProof


def prove_database(task_id: str, worker: str) -> dict[str, Any]:
    """Write a row, read it in another transaction, remove it. A task that runs twice does no harm."""
    WriteProof.objects.update_or_create(task_id=task_id, defaults={"worker": worker})
    read = WriteProof.objects.get(task_id=task_id).worker == worker
    WriteProof.objects.filter(task_id=task_id).delete()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        (in_recovery,) = cursor.fetchone()
    return {"written_and_read": read, "role": "replica" if in_recovery else "primary"}


def prove_broker(task_id: str) -> dict[str, Any]:
    """Write a key, read it, remove it; a replica refuses the first of these."""
    client = redis_client()
    key, value = f"proof:{task_id}", uuid.uuid4().hex.encode()
    client.set(key, value, ex=60)
    read = client.get(key) == value
    client.delete(key)
    return {"written_and_read": read, "role": client.execute_command("ROLE")[0].decode()}
