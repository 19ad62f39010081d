# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A local port that leads to a port of one pod, through the API server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

try:
    from kubernetes.client import CoreV1Api
    from kubernetes.stream import portforward
except ImportError:
    # client.KUBERNETES_IMPORT_ERROR says so; without a client nothing here is reached
    pass

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

__all__ = ["forward"]


@contextlib.contextmanager
def forward(api: Api, namespace: str, pod: str, port: int) -> Iterator[int]:
    """Listens on a free port of 127.0.0.1 and passes every connection on to ``port`` of the pod.

    Yields the local port. A pod that refuses shows as a connection that is closed at once. Everything
    is closed on leaving.
    """
    open_sockets: set[socket.socket] = set()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(
            target=_accept, args=(listener, api, namespace, pod, port, open_sockets), daemon=True
        )
        acceptor.start()
        try:
            yield listener.getsockname()[1]
        finally:
            # wakes accept(), which a close from another thread does not
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for one in list(open_sockets):
                _shut(one)


def _accept(
    listener: socket.socket, api: Api, namespace: str, pod: str, port: int, open_sockets: set[socket.socket]
) -> None:
    while True:
        try:
            local, _ = listener.accept()
        except OSError:
            return
        open_sockets.add(local)
        threading.Thread(
            target=_serve, args=(local, api, namespace, pod, port, open_sockets), daemon=True
        ).start()


def _serve(
    local: socket.socket, api: Api, namespace: str, pod: str, port: int, open_sockets: set[socket.socket]
) -> None:
    with contextlib.closing(local):
        try:
            tunnel = portforward(
                CoreV1Api(api.library_client).connect_get_namespaced_pod_portforward,
                pod,
                namespace,
                ports=str(port),
            )
        except Exception:
            # The caller's client sees its connection closed and says so; there is nobody else to tell here.
            open_sockets.discard(local)
            return
        remote = tunnel.socket(port)
        upstream = threading.Thread(target=_pump, args=(local, remote), daemon=True)
        upstream.start()
        _pump(remote, local)
        upstream.join()
        tunnel.close()
    open_sockets.discard(local)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _shut(target)
    _shut(source)


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
