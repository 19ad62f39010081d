# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server's own API server and etcd, asked on the server. Standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.celeryops.platform.plugins.module_utils._node.api import ask

__all__ = ["Api", "etcd_healthy"]

_VALUE = r"^\s*(?:- )?{}:\s*(\S+)"


class Api:
    """The API server that a kubeconfig of k3s names; k3s writes one value per line, certificates inside.

    Every answer is (HTTP status, body); (0, None) where there is none, whatever the reason.
    """

    def __init__(self, kubeconfig: Path, timeout: float = 5) -> None:
        self._path = kubeconfig
        self._timeout = timeout

    def get(self, path: str) -> tuple[int, Any]:
        return ask(self._connect, path)

    def _connect(self) -> http.client.HTTPSConnection:
        text = self._path.read_text(encoding="utf-8")
        found = {
            key: match.group(1).strip("\"'")
            for key in ("server", "certificate-authority-data", "client-certificate-data", "client-key-data")
            if (match := re.search(_VALUE.format(key), text, re.MULTILINE)) is not None
        }
        authority = base64.b64decode(found["certificate-authority-data"]).decode()
        context = ssl.create_default_context(cadata=authority)
        pem = b"".join(base64.b64decode(found[key]) for key in ("client-certificate-data", "client-key-data"))
        # OpenSSL wants a file; this one is in memory, and nobody else's.
        handle = os.memfd_create("client")
        try:
            os.write(handle, pem)
            context.load_cert_chain(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)
        server = urlsplit(found["server"])
        return http.client.HTTPSConnection(
            str(server.hostname), server.port or 6443, context=context, timeout=self._timeout
        )


def etcd_healthy(timeout: float = 5) -> bool:
    """Whether the embedded etcd's member on this host answers and its cluster has a leader.

    k3s has etcd serve metrics and health on the loopback address, port 2381, without TLS.
    """
    try:
        connection = http.client.HTTPConnection("127.0.0.1", 2381, timeout=timeout)
        try:
            connection.request("GET", "/health")
            return str(json.loads(connection.getresponse().read()).get("health")) == "true"
        finally:
            connection.close()
    except (OSError, ValueError, AttributeError, http.client.HTTPException):
        return False
