# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to the libraries `kubernetes`, `urllib3` and `websocket`: kubeconfig, TLS, tokens, connections.

The library is used for what it does well, reading a kubeconfig with all its kinds of credentials. Its typed
models are not: they drop fields that they do not know.
"""

from __future__ import annotations

import os
import select
import ssl
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urlsplit

from ansible.module_utils.basic import missing_required_lib

from .errors import KubeError, NoClusterError, from_answer

try:
    import kubernetes
    import urllib3
    import websocket
    from requests.utils import should_bypass_proxies

    KUBERNETES_IMPORT_ERROR: str | None = None
except ImportError:
    KUBERNETES_IMPORT_ERROR = traceback.format_exc()

__all__ = ["KUBERNETES_IMPORT_ERROR", "Answer", "Channels", "Session", "Unreachable"]

USER_AGENT = "celeryops"
Query = Mapping[str, Any] | Sequence[tuple[str, Any]] | None


class Unreachable(Exception):
    """No answer came. `sent` tells whether the server may have received the request; `final`, that asking again
    will not help (a certificate that is not trusted)."""

    def __init__(self, text: str, *, sent: bool, final: bool = False) -> None:
        self.sent = sent
        self.final = final
        super().__init__(text)


class Answer:
    """One HTTP answer: status, body and how many seconds the server asks to wait (None when it does not)."""

    def __init__(self, status: int, body: bytes, retry_after: float | None) -> None:
        self.status = status
        self.body = body
        self.retry_after = retry_after


class Session:
    """Connections to one API server as one user, kept open and reused."""

    def __init__(self, kubeconfig: str | None, context: str | None, timeout: float) -> None:
        if KUBERNETES_IMPORT_ERROR:
            last = KUBERNETES_IMPORT_ERROR.strip().splitlines()[-1]
            raise KubeError(missing_required_lib("kubernetes"), found=last)
        self._kubeconfig = kubeconfig
        self._context = context
        self.timeout = timeout
        self.renew()

    def renew(self) -> None:
        """Reads the credentials anew, as needed when a token has expired."""
        config = kubernetes.client.Configuration()
        try:
            self._load(config)
        except kubernetes.config.ConfigException as error:
            raise NoClusterError(
                "the cluster's credentials cannot be read",
                expected=f"context {self._context or '(the current one)'} in {self._source()}",
                found=str(error),
                remedy="correct `kubeconfig` and `context`, or bring the cluster up first",
            ) from error
        # One connection per thread; retries are decided one level up, where it is known what may be repeated.
        self._pool = kubernetes.client.rest.RESTClientObject(config, maxsize=16).pool_manager
        self._config = config
        self.host = str(config.host).rstrip("/")

    def _source(self) -> str:
        return self._kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"

    def _load(self, config: Any) -> None:
        default = Path("~/.kube/config").expanduser()
        named = self._kubeconfig or os.environ.get("KUBECONFIG")
        if not named and not default.exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
            kubernetes.config.load_incluster_config(client_configuration=config)
            return
        kubernetes.config.load_kube_config(
            config_file=str(named or default),
            context=self._context,
            client_configuration=config,
            persist_config=False,
        )

    def _authorization(self) -> dict[str, str]:
        # Asking for the key runs the library's own refresh of tokens that expire.
        token = self._config.get_api_key_with_prefix("BearerToken", alias="authorization")
        if token:
            return {"Authorization": token}
        if self._config.username:
            return {"Authorization": self._config.get_basic_auth_token()}
        return {}

    def _url(self, path: str, query: Query) -> str:
        return f"{self.host}{path}?{urlencode(query, doseq=True)}" if query else f"{self.host}{path}"

    def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {"User-Agent": USER_AGENT, "Accept": "application/json", **extra, **self._authorization()}

    def request(self, method: str, path: str, query: Query, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request, no retry. Raises Unreachable when no answer came."""
        try:
            response = self._pool.request(
                method,
                self._url(path, query),
                body=body,
                headers=self._headers(headers),
                timeout=urllib3.Timeout(connect=min(5.0, self.timeout), read=self.timeout),
                retries=False,
                redirect=False,
            )
        except urllib3.exceptions.HTTPError as error:
            never_sent = (
                urllib3.exceptions.NewConnectionError,
                urllib3.exceptions.ConnectTimeoutError,
                urllib3.exceptions.ProxyError,
            )
            untrusted = isinstance(error.__context__, ssl.SSLCertVerificationError)
            raise Unreachable(str(error), sent=not isinstance(error, never_sent), final=untrusted) from error
        after = response.headers.get("Retry-After", "")
        return Answer(response.status, response.data, float(after) if after.isdigit() else None)

    def lines(self, path: str, query: Query, timeout: float) -> Iterator[bytes]:
        """The lines of an answer that comes bit by bit (a watch), until it ends or is silent for `timeout`."""
        try:
            response = self._pool.request(
                "GET",
                self._url(path, query),
                headers=self._headers({}),
                timeout=urllib3.Timeout(connect=min(5.0, self.timeout), read=timeout),
                retries=False,
                redirect=False,
                preload_content=False,
            )
            if response.status != 200:
                raise from_answer(f"GET {path}", response.status, response.read())
            try:
                rest = b""
                for chunk in response.stream():
                    *whole, rest = (rest + chunk).split(b"\n")
                    yield from whole
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(str(error), sent=True) from error

    def websocket(self, path: str, query: Query, protocols: Sequence[str], timeout: float) -> Channels:
        """Opens a stream of channels, as exec and port-forward use it."""
        config = self._config
        options: dict[str, Any] = {}
        if config.proxy and not should_bypass_proxies(config.host, no_proxy=config.no_proxy or ""):
            proxy = urlsplit(config.proxy)
            options = {"http_proxy_host": proxy.hostname, "http_proxy_port": proxy.port, "proxy_type": "http"}
        else:
            options = {"http_no_proxy": ["*"]}
        tls: dict[str, Any] = {"cert_reqs": ssl.CERT_REQUIRED if config.verify_ssl else ssl.CERT_NONE}
        if not config.verify_ssl or config.assert_hostname is False:
            tls["check_hostname"] = False
        for option, value in (
            ("ca_certs", config.ssl_ca_cert),
            ("certfile", config.cert_file),
            ("keyfile", config.key_file),
            ("server_hostname", config.tls_server_name),
        ):
            if value:
                tls[option] = value
        headers = {"User-Agent": USER_AGENT, **self._authorization()}
        try:
            stream = websocket.create_connection(
                "ws" + self._url(path, query).removeprefix("http"),
                timeout=timeout,
                sslopt=tls,
                header=headers,
                subprotocols=list(protocols),
                suppress_origin=True,
                **options,
            )
        except websocket.WebSocketBadStatusException as error:
            raise from_answer(f"GET {path}", error.status_code, error.resp_body or b"") from error
        except (websocket.WebSocketException, OSError) as error:
            raise Unreachable(str(error), sent=not isinstance(error, ConnectionRefusedError)) from error
        return Channels(stream)


class Channels:
    """Numbered byte streams over one WebSocket: the first byte of every message names the channel."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.protocol = str(stream.subprotocol or "")

    def __enter__(self) -> Channels:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def framed(channel: int, data: bytes) -> bytes:
        """A message as it goes over the wire, for `push`."""
        frame = websocket.ABNF.create_frame(bytes([channel]) + data, websocket.ABNF.OPCODE_BINARY)
        return bytes(frame.format())

    def fileno(self) -> int:
        return int(self._stream.sock.fileno()) if self._stream.sock else -1

    def send(self, channel: int, data: bytes) -> None:
        try:
            self._stream.send_binary(bytes([channel]) + data)
        except (websocket.WebSocketException, OSError) as error:
            raise Unreachable(str(error), sent=True) from error

    def push(self, data: bytes) -> int:
        """Writes as much of a framed message as goes without waiting; how much that was."""
        sock = self._stream.sock
        timeout = sock.gettimeout()
        sock.settimeout(0)
        try:
            return int(sock.send(data))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise Unreachable(str(error), sent=True) from error
        finally:
            sock.settimeout(timeout)

    def ready(self, timeout: float) -> tuple[bool, bool]:
        """Whether a message has begun to arrive, and whether something can be written, within `timeout` seconds."""
        if self.readable(0):
            return True, False
        sock = self._stream.sock
        found = select.select([sock], [sock], [], max(0.0, timeout))
        return bool(found[0]), bool(found[1])

    def readable(self, timeout: float) -> bool:
        """Whether a message has begun to arrive within `timeout` seconds."""
        sock = self._stream.sock
        if sock is None:
            return True
        if isinstance(sock, ssl.SSLSocket) and sock.pending():
            return True
        return bool(select.select([sock], [], [], max(0.0, timeout))[0])

    def receive(self) -> tuple[int, bytes] | None:
        """The next message as (channel, data); None when the server has closed the stream."""
        try:
            code, frame = self._stream.recv_data_frame(control_frame=True)
        except websocket.WebSocketConnectionClosedException:
            return None
        except (websocket.WebSocketException, OSError) as error:
            raise Unreachable(str(error), sent=True) from error
        if code == websocket.ABNF.OPCODE_CLOSE:
            return None
        if code not in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT) or not frame.data:
            return (-1, b"")
        data = bytes(frame.data)
        return data[0], data[1:]

    def close(self) -> None:
        # Waiting for the server's farewell would cost up to its timeout and tell nothing.
        self._stream.close(timeout=0)
