# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release site and a forward proxy on loopback, as far as downloads need them. Both note what they are asked."""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Proxy", "Site", "proxy", "site"]


@dataclass
class Site:
    """Files by path, and how the site misbehaves with each."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    # Path to how many bytes come before the connection is closed; one entry per request.
    cuts: dict[str, list[int]] = field(default_factory=dict)
    # Path to after how many bytes nothing more comes, the connection staying open.
    stalls: dict[str, int] = field(default_factory=dict)
    # Paths whose bytes come one by one.
    drips: set[str] = field(default_factory=set)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    login: str = ""
    ranges: bool = True
    port: int = 0
    scheme: str = "http"
    asked: list[tuple[str, str]] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/download"

    def release(self, version: str, files: dict[str, bytes], architecture: str = "amd64") -> None:
        """Publishes files and their list of checksums."""
        lines = [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in files.items()]
        listing = ("\n".join(lines) + "\n").encode()
        for name, content in {**files, f"sha256sum-{architecture}.txt": listing}.items():
            self.files[f"/download/{version}/{name}"] = content


def _handler(place: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            place.asked.append((path, self.headers.get("Range", "")))
            place.logins.append(self.headers.get("Authorization", ""))
            if place.login and self.headers.get("Authorization") != place.login:
                return self.send_error(401)
            if place.statuses.get(path):
                return self.send_error(place.statuses[path].pop(0))
            if path in place.redirects:
                self.send_response(302)
                self.send_header("Location", place.redirects[path])
                self.send_header("Content-Length", "0")
                return self.end_headers()
            if path not in place.files:
                return self.send_error(404)
            return self._content(path, place.files[path])

        def _content(self, path: str, content: bytes) -> None:
            wanted = self.headers.get("Range", "") if place.ranges else ""
            at = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if at >= len(content) > 0:
                return self.send_error(416)
            body = content[at:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            if wanted:
                self.send_header("Content-Range", f"bytes {at}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if place.cuts.get(path):
                self.wfile.write(body[: place.cuts[path].pop(0)])
                return None
            if path in place.stalls:
                self.wfile.write(body[: place.stalls[path]])
                self.wfile.flush()
                place.closing.wait()
                return None
            if path in place.drips:
                for byte in body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                return None
            self.wfile.write(body)
            return None

    return Handler


@contextlib.contextmanager
def _serving(handler: type[BaseHTTPRequestHandler], certificate: Path | None = None) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def site(certificate: Path | None = None) -> Iterator[Site]:
    """A release site; `certificate` is a PEM file with key and certificate, and makes it HTTPS."""
    place = Site(scheme="https" if certificate else "http")
    with _serving(_handler(place), certificate) as place.port:
        try:
            yield place
        finally:
            place.closing.set()


@dataclass
class Proxy:
    """What the proxy was asked: (method, target), and with which login."""

    login: str = ""
    port: int = 0
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def _proxy_handler(place: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def _refused(self) -> bool:
            place.asked.append((self.command, self.path))
            if place.login and self.headers.get("Proxy-Authorization") != place.login:
                self.send_error(407)
                return True
            return False

        def do_GET(self) -> None:
            """A request with a whole URL, passed on as it came."""
            if self._refused():
                return
            target = urlsplit(self.path)
            with socket.create_connection((str(target.hostname), target.port or 80)) as there:
                kept = [f"{key}: {value}" for key, value in self.headers.items() if not key.startswith("Proxy-")]
                lines = [f"GET {target.path} HTTP/1.0", *kept, "", ""]
                there.sendall("\r\n".join(lines).encode())
                while block := there.recv(65536):
                    self.wfile.write(block)
            self.close_connection = True

        def do_CONNECT(self) -> None:
            """A tunnel."""
            if self._refused():
                return
            host, _colon, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                ends = {self.connection: there, there: self.connection}
                while True:
                    for end in select.select(list(ends), [], [])[0]:
                        block = end.recv(65536)
                        if not block:
                            self.close_connection = True
                            return
                        ends[end].sendall(block)

    return Handler


@contextlib.contextmanager
def proxy() -> Iterator[Proxy]:
    place = Proxy()
    with _serving(_proxy_handler(place)) as place.port:
        yield place
