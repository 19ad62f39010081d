# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON over HTTPS, with a client certificate or a password."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Client", "HttpError", "basic", "context"]


class HttpError(Exception):
    """An answer that is no success: its status and text."""

    def __init__(self, url: str, status: int, text: str) -> None:
        super().__init__(f"{url}: {status} {http.client.responses.get(status, '')} {text}".strip())
        self.status = status
        self.text = text


def context(ca: Path | None = None, certificate: tuple[Path, Path] | None = None, pem: str = "") -> ssl.SSLContext:
    """TLS that trusts `ca` or `pem`; without either it trusts anybody, as k3s does to fetch the CA itself."""
    made = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(ca) if ca else None, cadata=pem or None)
    if ca is None and not pem:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if certificate:
        made.load_cert_chain(*map(str, certificate))
    return made


class Client:
    """One server. A connection per request: nothing here asks often."""

    def __init__(self, url: str, tls: ssl.SSLContext, timeout: float = 10) -> None:
        parts = urlsplit(url)
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._tls, self._timeout = tls, timeout

    def get(self, path: str, **headers: str) -> bytes:
        return self.request("GET", path, None, headers)

    def json(self, method: str, path: str, body: Any = None, kind: str = "application/json", **headers: str) -> Any:
        content = None if body is None else json.dumps(body).encode()
        return json.loads(self.request(method, path, content, {"Content-Type": kind, **headers}) or b"null")

    def request(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        """The answer's body. HttpError for a status from 400 on, OSError where there is no answer."""
        with self._connected(method, path, body, headers) as answer:
            content = answer.read()
            if answer.status >= 400:
                raise HttpError(self.url + path, answer.status, content.decode(errors="replace").strip()[:500])
            return content

    def lines(self, path: str, body: Any) -> Iterator[Any]:
        """The JSON documents, one a line, that etcd's gateway streams."""
        with self._connected("POST", path, json.dumps(body).encode(), {}) as answer:
            if answer.status >= 400:
                raise HttpError(self.url + path, answer.status, answer.read().decode(errors="replace")[:500])
            for line in answer:
                if line.strip():
                    yield json.loads(line)

    @contextmanager
    def _connected(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Iterator[http.client.HTTPResponse]:
        connection = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=self._timeout)
        try:
            connection.request(method, path, body, dict(headers))
            yield connection.getresponse()
        except http.client.HTTPException as error:
            raise OSError(f"{self.url}{path}: {error!r}") from error
        finally:
            connection.close()


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
