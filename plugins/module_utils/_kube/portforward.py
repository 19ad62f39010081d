# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A port of a pod on this machine's loopback, through the API server."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .client import Api
from .errors import KubeError, Unreachable
from .resources import ObjectRef

if TYPE_CHECKING:
    from .channels import Channels

__all__ = ["forward"]

_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK = 32 * 1024


@contextmanager
def forward(api: Api, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Yields a port of 127.0.0.1 that leads to `port` of the pod; each connection is a stream of its own.

    Raises KubeError at once when the pod cannot be reached. A port on which nothing listens shows as a
    connection that the other side closes. The protocol has no half-close: a client that closes ends both ways.
    """
    tunnel = _Tunnel(api, namespace, pod, port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        # The first stream is opened here, so that a missing pod is an error of this call.
        ready = [tunnel.open()]
        stopped = threading.Event()
        acceptor = threading.Thread(target=_accept, args=(server, tunnel, ready, stopped), daemon=True)
        acceptor.start()
        try:
            yield server.getsockname()[1]
        finally:
            stopped.set()
            # Unblocks accept(); closing the socket alone would not.
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for channels in ready:
                channels.close()
            tunnel.close()


class _Tunnel:
    """Opens streams to one port and closes what is still open at the end."""

    def __init__(self, api: Api, namespace: str, pod: str, port: int) -> None:
        self._api = api
        self._path = api.path(ObjectRef("v1", "Pod", pod, namespace), "portforward")
        self._port = port
        self._what = f"port-forward to Pod {namespace}/{pod} port {port}"
        self._pumps: list[tuple[threading.Thread, socket.socket]] = []

    def open(self) -> Channels:
        return self._api.channels(self._path, {"ports": str(self._port)}, [_PROTOCOL], 30, self._what)

    def serve(self, client: socket.socket, channels: Channels) -> None:
        thread = threading.Thread(target=_pump, args=(client, channels), daemon=True)
        self._pumps.append((thread, client))
        thread.start()

    def close(self) -> None:
        for thread, client in self._pumps:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(server: socket.socket, tunnel: _Tunnel, ready: list[Channels], stopped: threading.Event) -> None:
    while not stopped.is_set():
        try:
            client, _address = server.accept()
        except OSError:
            return
        try:
            channels = ready.pop() if ready else tunnel.open()
        except KubeError:
            client.close()
            continue
        tunnel.serve(client, channels)


def _pump(client: socket.socket, channels: Channels) -> None:
    """Carries bytes both ways in one thread: a TLS connection must not be used by two at once."""
    greeted: set[int] = set()
    source, sink = client.fileno(), channels.fileno()
    with client, channels, suppress(OSError, Unreachable):
        while True:
            waiting = channels.readable(0)
            readable = select.select([source, sink], [], [], 0 if waiting else None)[0]
            if waiting or sink in readable:
                message = channels.receive()
                if message is None:
                    return
                channel, data = message
                if channel in (_DATA, _ERROR) and channel not in greeted:
                    # The first message of each channel repeats the port number.
                    greeted.add(channel)
                elif channel == _ERROR:
                    return
                elif channel == _DATA:
                    client.sendall(data)
            if source in readable:
                data = client.recv(_CHUNK)
                if not data:
                    return
                channels.send(_DATA, data)
