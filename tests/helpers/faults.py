# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A proxy in front of a real API server that fails where a test says so, and notes every request."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.apiserver import ApiServer
from helpers.manifests import apply
from helpers.modules import run_module

__all__ = ["Fault", "Held", "Proxy", "Request", "fault_proxy", "through"]

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """What came, without its query, and which one of its method it is, from 1."""

    method: str
    path: str
    number: int
    body: bytes
    dry_run: bool


@dataclass(frozen=True)
class Fault:
    """Instead of passing a request on: `status` answers; otherwise the connection is reset, with `acted` only after
    the server has answered. `headers` replace those of a request that is passed on when there is nothing else."""

    status: int = 0
    retry_after: int | None = None
    acted: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class Proxy:
    """`rule` decides about every request: None passes it on. It may wait, which holds the request."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.requests: list[Request] = []
        self.rule: Callable[[Request], Fault | None] = lambda request: None
        self._lock = threading.Lock()

    def note(self, method: str, path: str, body: bytes) -> Request:
        plain, _, query = path.partition("?")
        with self._lock:
            number = 1 + sum(one.method == method for one in self.requests)
            request = Request(method, plain, number, body, "dryRun=All" in query or b'"dryRun"' in body)
            self.requests.append(request)
        return request


def _handler(proxy: Proxy, server: ApiServer) -> type[http.server.BaseHTTPRequestHandler]:
    context = ssl.create_default_context(cafile=str(server.folder / "apiserver.crt"))

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = proxy.rule(proxy.note(self.command, self.path, body))
            if fault and fault.status:
                self._answer(fault.status, b'{"kind":"Status","message":"injected"}', fault.retry_after)
                return
            if fault and not fault.acted and not fault.headers:
                self._reset()
                return
            try:
                status, answer = self._pass_on(body, fault.headers if fault else {})
            except OSError:
                self._reset()
                return
            if fault and fault.acted:
                self._reset()
                return
            self._answer(status, answer, None)

        do_GET = do_PATCH = do_POST = do_DELETE = _handle

        def _pass_on(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
            try:
                connection.request(self.command, self.path, body or None, {**dict(self.headers), **headers})
                answer = connection.getresponse()
                return answer.status, answer.read()
            finally:
                connection.close()

        def _answer(self, status: int, body: bytes, retry_after: int | None) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if retry_after is not None:
                self.send_header("Retry-After", str(retry_after))
            self.end_headers()
            self.wfile.write(body)

        def _reset(self) -> None:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing: the requests are noted."""

    return Handler


@contextmanager
def fault_proxy(server: ApiServer, folder: Path) -> Iterator[Proxy]:
    """A proxy with a kubeconfig of its own below `folder`."""
    proxy = Proxy(folder / "proxy-kubeconfig")
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(proxy, server))
    listener.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.folder / "apiserver.crt", server.folder / "apiserver.key")
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    config = json.loads(server.kubeconfig.read_text(encoding="ascii"))
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{listener.server_address[1]}"
    proxy.kubeconfig.write_text(json.dumps(config), encoding="ascii")
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()


def through(proxy: Proxy, *objects: Json, **options: Any) -> Json:
    """Applies objects by way of the proxy."""

    def run(name: str, args: Json, **more: Any) -> Json:
        return run_module(name, {"kubeconfig": str(proxy.kubeconfig), "retry_timeout": 60, **args}, **more)

    return apply(run, *objects, **options)


class Held:
    """A run through the proxy whose PATCHes, or with `dry_run` their dry runs, wait until the result is wanted."""

    def __init__(self, proxy: Proxy, *objects: Json, dry_run: bool = False, **options: Any) -> None:
        self._reached, self._free = threading.Event(), threading.Event()

        def rule(request: Request) -> Fault | None:
            if request.method == "PATCH" and request.dry_run == dry_run:
                self._reached.set()
                assert self._free.wait(300)
            return None

        proxy.rule = rule
        self._pool = ThreadPoolExecutor(1)
        self._run = self._pool.submit(through, proxy, *objects, **options)
        assert self._reached.wait(300)

    def result(self) -> Json:
        self._free.set()
        with self._pool:
            return self._run.result(300)
