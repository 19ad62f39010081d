# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The listeners: k3s's port 6443, which answers for k3s itself and passes the rest on, and an agent's balancer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from .https import context
from .pki import Pki, Subject

__all__ = ["Answer", "Balancer", "Handler", "Listener", "Request"]

_HEAD_LIMIT = 65536
_Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Request:
    """A request to k3s itself. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    kind: str = "text/plain"


Handler = Callable[[Request], "Answer | None"]


def in_background(serve: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` in a thread of its own and return once it listens; what it raises then is raised here."""
    listening, failure = threading.Event(), []

    async def main() -> None:
        try:
            await serve()
        except OSError as error:
            failure.append(error)
            return
        finally:
            listening.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
    listening.wait()
    if failure:
        raise failure[0]


class Listener:
    """TLS on k3s's port. `handler` answers what is k3s's; other connections become a client's own to the API server."""

    def __init__(self, pki: Pki, certificate: tuple[Path, Path], handler: Handler, upstream_port: int) -> None:
        self._pki, self._handler, self._upstream_port = pki, handler, upstream_port
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(*map(str, certificate))
        self._tls.load_verify_locations(pki.path("client-ca.crt"))
        self._tls.verify_mode = ssl.CERT_OPTIONAL
        # One request decides for its whole connection, which HTTP/2 would share between many.
        self._tls.set_alpn_protocols(["http/1.1"])
        self._contexts: dict[Subject, ssl.SSLContext] = {}

    def serve(self, host: str, port: int) -> None:
        async def start() -> None:
            await asyncio.start_server(self._connection, host, port, ssl=self._tls, limit=_HEAD_LIMIT)

        in_background(start)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            request = await _request(head, reader)
            answer = await asyncio.to_thread(self._handler, request) if request else None
            if answer is None:
                upstream = await self._upstream(writer)
                await _join((reader, writer), upstream, head + (request.body if request else b""))
            else:
                writer.write(_response(answer))
                await writer.drain()
        writer.close()

    async def _upstream(self, writer: asyncio.StreamWriter) -> _Streams:
        """To the API server, as whoever the client has proved to be."""
        subject = _subject(writer.get_extra_info("peercert"))
        if subject not in self._contexts:
            self._contexts[subject] = await asyncio.to_thread(self._context, subject)
        tls = self._contexts[subject]
        return await asyncio.open_connection("127.0.0.1", self._upstream_port, ssl=tls, server_hostname="127.0.0.1")

    def _context(self, subject: Subject) -> ssl.SSLContext:
        certificate = None
        if subject.user:
            stem = f"forwarded/{hashlib.sha256(subject.text.encode()).hexdigest()[:16]}"
            certificate = self._pki.issue(stem, "client-ca", subject)
        return context(self._pki.path("server-ca.crt"), certificate)


class Balancer:
    """An agent's local port, passed on to the first server that takes the connection."""

    def __init__(self, servers: list[str], port: int) -> None:
        self.servers, self._port = servers, port

    def serve(self, port: int) -> None:
        async def start() -> None:
            await asyncio.start_server(self._connection, "127.0.0.1", port)

        in_background(start)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for server in list(self.servers):
            with contextlib.suppress(OSError, TimeoutError):
                opened = await asyncio.wait_for(asyncio.open_connection(server, self._port), 3)
                # The next connection begins with the one that answered.
                self.servers = [server, *(each for each in self.servers if each != server)]
                await _join((reader, writer), opened, b"")
                break
        writer.close()


async def _request(head: bytes, reader: asyncio.StreamReader) -> Request | None:
    """What a handler may answer; nothing for a body that only the API server can read to its end."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
    }
    path = rest.partition(" ")[0].partition("?")[0]
    if not path.startswith(("/cacerts", "/ping", "/v1-k3s/", "/version")):
        return None
    length = int(headers.get("content-length", "0"))
    return Request(method, path, headers, await reader.readexactly(length) if length else b"")


def _response(answer: Answer) -> bytes:
    phrase = HTTPStatus(answer.status).phrase
    return (
        f"HTTP/1.1 {answer.status} {phrase}\r\nContent-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    ).encode() + answer.body


def _subject(certificate: Mapping[str, object] | None) -> Subject:
    parts = [pair for group in (certificate or {}).get("subject", ()) for pair in group]  # type: ignore[attr-defined]
    user = next((value for name, value in parts if name == "commonName"), "")
    return Subject(user, tuple(value for name, value in parts if name == "organizationName"))


async def _join(one: _Streams, other: _Streams, first: bytes) -> None:
    """Pass bytes both ways until either side is done."""
    other[1].write(first)
    tasks = [asyncio.ensure_future(_pipe(one[0], other[1])), asyncio.ensure_future(_pipe(other[0], one[1]))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        other[1].close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
