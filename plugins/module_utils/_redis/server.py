# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One Redis server, asked directly over a connection of its own with redis-py."""

from __future__ import annotations

import traceback
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._redis.replication import (
    Replication,
    parse_info,
    replication,
)

REDIS_IMPORT_ERROR: str | None = None
try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError:
    REDIS_IMPORT_ERROR = traceback.format_exc()

__all__ = ["REDIS_IMPORT_ERROR", "RedisError", "read_replication"]


class RedisError(CeleryOpsError):
    """A server that did not answer, or did not accept the password."""


def read_replication(host: str, port: int, password: str, *, timeout: float) -> Replication:
    """ROLE and INFO of the server, which answers both while it loads its data too.

    ``timeout`` is in seconds and holds for connecting and for each answer. Raises RedisError.
    """
    # Part of it has no annotations in the library.
    make: Any = redis.Connection
    connection = make(
        host=host,
        port=port,
        password=password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
    )
    try:
        connection.connect()
        connection.send_command("ROLE")
        role = connection.read_response()
        connection.send_command("INFO", "everything")
        info = connection.read_response()
    except redis.AuthenticationError as error:
        raise RedisError(
            "Redis does not accept the password",
            found=str(error),
            remedy="check the Secret that password_secret names; a pod started before it changed still has the old one",
        ) from error
    except redis.RedisError as error:
        raise RedisError(f"Redis did not answer ROLE and INFO: {error}") from error
    finally:
        connection.disconnect()
    return replication(str(role[0]), parse_info(str(info)))
