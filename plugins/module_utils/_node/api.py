# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control-plane node's own API server, asked on the node. Standard library only."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ADMIN", "CA", "ETC", "ask", "get", "private_file", "status"]

ETC = Path("/etc/kubernetes")
CA = ETC / "pki/ca.crt"
ADMIN = ETC / "admin.conf"


@contextmanager
def private_file(name: str, content: str) -> Iterator[str]:
    """A file in memory that only root reads, for as long as kubeadm needs it; its path."""
    path = Path("/run") / name
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        path.write_text(content, encoding="utf-8")
        yield str(path)
    finally:
        path.unlink(missing_ok=True)


def _client() -> ssl.SSLContext:
    """TLS as the cluster's administrator, from kubeadm's admin.conf, whose YAML has one line per value."""
    found = dict(re.findall(r"(client-certificate|client-key)-data: (\S+)", ADMIN.read_text(encoding="ascii")))
    context = ssl.create_default_context(cafile=str(CA))
    # The certificate names the node's address, not the loopback; the CA is the cluster's own, so nobody else
    # has one.
    context.check_hostname = False
    pem = "".join(base64.b64decode(found[key]).decode() for key in ("client-certificate", "client-key"))
    with private_file(f"celeryops-client-{os.getpid()}.pem", pem) as path:
        context.load_cert_chain(path)
    return context


def ask(connect: Callable[[], http.client.HTTPSConnection], path: str) -> tuple[int, Any]:
    """HTTP status and JSON body of a path, by a connection of its own; (0, None) without an answer."""
    try:
        connection = connect()
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
    except (OSError, KeyError, ValueError, http.client.HTTPException):
        return 0, None
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, None


def get(path: str, timeout: float = 5) -> tuple[int, Any]:
    """HTTP status and JSON body of a path on this node's API server; (0, None) without an answer."""
    return ask(lambda: http.client.HTTPSConnection("127.0.0.1", 6443, context=_client(), timeout=timeout), path)


def status(path: str) -> int:
    """HTTP status of a path; 0 without an answer."""
    return get(path)[0]
