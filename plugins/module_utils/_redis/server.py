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

__all__ = ["REDIS_IMPORT_ERROR", "RedisError", "read_replication", "read_sentinel"]


class RedisError(CeleryOpsError):
    """A server that did not answer, or did not accept the password."""


def read_replication(host: str, port: int, password: str, *, timeout: float, ca: str = "") -> Replication:
    """ROLE and INFO of the server, which answers both while it loads its data too.

    ``timeout`` is in seconds and holds for connecting and for each answer. With ``ca``, the certificate of an authority
    as PEM, the server speaks TLS. Raises RedisError.
    """
    role, info = _ask(host, port, password, timeout, ca, ("ROLE",), ("INFO", "everything"))
    return replication(str(role[0]), parse_info(str(info)))


def read_sentinel(host: str, port: int, password: str, master: str, *, timeout: float, ca: str = "") -> dict[str, str]:
    """What a Sentinel knows of the master of that name; nothing when it watches over none. Raises RedisError."""
    try:
        (said,) = _ask(host, port, password, timeout, ca, ("SENTINEL", "MASTER", master))
    except RedisError as error:
        if "No such master" in str(error):
            return {}
        raise
    words = [str(word) for word in said]
    return dict(zip(words[::2], words[1::2], strict=True))


def _ask(host: str, port: int, password: str, timeout: float, ca: str, *commands: tuple[str, ...]) -> list[Any]:
    # The API server has led to the pod: its name is not asked for, which is another than that of the forwarded port.
    tls = {"ssl_ca_data": ca, "ssl_check_hostname": False} if ca else {}
    # Part of it has no annotations in the library.
    make: Any = redis.SSLConnection if ca else redis.Connection
    connection = make(
        host=host,
        port=port,
        password=password or None,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        protocol=2,
        **tls,
    )
    answers = []
    try:
        connection.connect()
        for command in commands:
            connection.send_command(*command)
            answers.append(connection.read_response())
    except redis.AuthenticationError as error:
        raise RedisError(
            "Redis does not accept the password",
            found=str(error),
            remedy="check the Secret that password_secret names; a pod started before it changed still has the old one",
        ) from error
    except redis.RedisError as error:
        asked = " and ".join(" ".join(command[:2]) for command in commands)
        raise RedisError(f"Redis did not answer {asked.replace(' everything', '')}: {error}") from error
    finally:
        connection.disconnect()
    return answers
