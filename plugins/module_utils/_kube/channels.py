# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The adapter to the library `websocket`: streams to pods. Imported only where a stream is opened."""

from __future__ import annotations

import select
import ssl
import traceback
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from .errors import Unreachable, from_answer

try:
    import websocket

    WEBSOCKET_IMPORT_ERROR: str | None = None
except ImportError:
    WEBSOCKET_IMPORT_ERROR = traceback.format_exc()

__all__ = ["WEBSOCKET_IMPORT_ERROR", "Channels", "open_channels"]


def open_channels(
    url: str,
    headers: Mapping[str, str],
    protocols: Sequence[str],
    timeout: float,
    *,
    tls: ssl.SSLContext | None,
    server_name: str | None,
    proxy: tuple[str | None, int | None] | None,
) -> Channels:
    """Opens a stream of channels, as exec and port-forward use it. Raises Unreachable, or KubeError when refused."""
    options: dict[str, Any] = {"http_no_proxy": ["*"]}
    if proxy:
        options = {"http_proxy_host": proxy[0], "http_proxy_port": proxy[1], "proxy_type": "http"}
    if tls:
        options["sslopt"] = {"context": tls, **({"server_hostname": server_name} if server_name else {})}
    try:
        stream = websocket.create_connection(
            "ws" + url.removeprefix("http"),
            timeout=timeout,
            header=dict(headers),
            subprotocols=list(protocols),
            suppress_origin=True,
            **options,
        )
    except websocket.WebSocketBadStatusException as error:
        raise from_answer(f"GET {url}", error.status_code, error.resp_body or b"") from error
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
