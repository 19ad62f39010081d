# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client that writes to Redis all the time and remembers what was acknowledged, and when.

The text of this file is fed to the Python of some container, followed by its options, so it stands alone. It writes
rising numbers to the end of a list, as a producer of tasks would, over one connection at a time.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import sys
import time
from typing import Any

__all__ = ["main", "write"]


class Refused(Exception):
    """Redis answered with an error; its first word says which."""


class Connection:
    """Just enough of the protocol: commands out, answers in, nothing kept."""

    def __init__(self, host: str, port: int, password: str, timeout: float, ca: str) -> None:
        self.sock = socket.create_connection((host, port), timeout)
        if ca:
            self.sock = ssl.create_default_context(cadata=ca).wrap_socket(self.sock, server_hostname=host)
        self.stream = self.sock.makefile("rb")
        if password:
            self.ask("AUTH", password)

    def ask(self, *words: str) -> Any:
        parts = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.sock.sendall(b"".join(parts))
        return self._reply()

    def _reply(self) -> Any:
        line = self.stream.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("closed by the other side")
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"-":
            raise Refused(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return self.stream.read(int(rest) + 2)[:-2].decode() if int(rest) >= 0 else None
        if kind == b"*":
            return [self._reply() for _number in range(int(rest))]
        return rest

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.close()


def write(options: dict[str, Any]) -> dict[str, Any]:
    """Options: host, port, password, key; ca, the authority's certificate, where it speaks TLS; interval and timeout in
    seconds; replicas, to wait for before a write counts.

    It ends ``quiet`` seconds after the last failure, but not before ``least`` and not after ``most`` seconds, then
    reads the list back. With ``mark``, a path: it makes that file when the first write is acknowledged, and counts
    the quiet seconds from when it finds one of that name with ``.end``. Answer: began, when the first write was
    acknowledged; acknowledged, as numbers and Unix times; errors, as Unix times and words; kept.
    """
    began, last_error = time.time(), 0.0
    mark, ending = options.get("mark"), None
    acknowledged: list[tuple[int, float]] = []
    errors: list[tuple[float, str]] = []
    number, connection = 0, None
    while True:
        now = time.time()
        if ending is None and (not mark or os.path.exists(f"{mark}.end")):  # noqa: PTH110 - less to import
            ending = now if mark else began
        quiet = ending is not None and now - max(last_error, ending) > options["quiet"]
        if now - began > options["most"] or (now - began > options["least"] and quiet):
            break
        number += 1
        try:
            connection = connection or _connect(options)
            connection.ask("RPUSH", options["key"], str(number))
            if options["replicas"]:
                _wait(connection, options)
            acknowledged.append((number, time.time()))
            if len(acknowledged) == 1:
                # Should nobody be left to delete it.
                connection.ask("EXPIRE", options["key"], "86400")
            if mark and len(acknowledged) == 1:
                with open(mark, "w"):  # noqa: PTH123 - as above
                    pass
        except (OSError, Refused, ValueError) as error:
            last_error = time.time()
            errors.append((last_error, _words(error)))
            if connection is not None:
                connection.close()
                connection = None
        time.sleep(options["interval"])
    first = acknowledged[0][1] if acknowledged else began
    return {"began": first, "acknowledged": acknowledged, "errors": errors, "kept": _kept(options)}


def _connect(options: dict[str, Any]) -> Connection:
    return Connection(options["host"], options["port"], options["password"], options["timeout"], options.get("ca", ""))


def _wait(connection: Connection, options: dict[str, Any]) -> None:
    # Redis gives up before the socket does.
    reached = connection.ask("WAIT", str(options["replicas"]), str(int(options["timeout"] * 500)))
    if reached < options["replicas"]:
        raise Refused(f"WAIT {reached} of {options['replicas']} replicas have it")


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"


def _kept(options: dict[str, Any]) -> list[int]:
    """What the list holds in the end, which is then deleted."""
    connection = _connect(options)
    try:
        found = connection.ask("LRANGE", options["key"], "0", "-1")
        connection.ask("DEL", options["key"])
    finally:
        connection.close()
    return [int(word) for word in found]


def main(options: dict[str, Any]) -> None:
    json.dump(write(options), sys.stdout)
