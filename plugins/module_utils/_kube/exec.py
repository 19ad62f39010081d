# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a command in a container of a pod, through the API server."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

try:
    import yaml
    from kubernetes.stream import ws_client
    from websocket import WebSocketException
except ImportError:
    # client.KUBERNETES_IMPORT_ERROR says so; without a client nothing here is reached
    pass

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

__all__ = ["ExecResult", "exec_in_pod"]


@dataclass(frozen=True)
class ExecResult:
    """What a command left: its exit status and both outputs, decoded as UTF-8."""

    rc: int
    stdout: str
    stderr: str


def exec_in_pod(
    api: Api,
    namespace: str,
    pod: str,
    command: list[str],
    *,
    container: str | None = None,
    stdin: str | None = None,
    timeout: float,
) -> ExecResult:
    """Runs ``command`` (no shell) and waits ``timeout`` seconds at most.

    A status other than 0 is a result, not an error. Raises :class:`KubeError` when the command could
    not be started, or has not ended in time; it is then still running in the container.
    """
    query = [("command", part) for part in command]
    query += [("stdout", "true"), ("stderr", "true")]
    if stdin is not None:
        query.append(("stdin", "true"))
    if container:
        query.append(("container", container))
    url = f"{api.host}/api/v1/namespaces/{namespace}/pods/{pod}/exec?{urlencode(query)}"
    where = f"pod {namespace}/{pod}"
    try:
        client = ws_client.WSClient(
            api.configuration, ws_client.get_websocket_url(url), api.authorization(), capture_all=False
        )
    except (WebSocketException, OSError) as error:
        raise KubeError(
            f"No command can be run in {where}",
            expected="a running container",
            found=str(error),
            remedy=f"See what kubectl --namespace {namespace} describe pod {pod} says.",
        ) from error
    try:
        if stdin is not None:
            client.write_stdin(stdin)
            # Only version 5 of the protocol can close stdin; API servers from 1.30 on speak it.
            client.close_channel(ws_client.STDIN_CHANNEL)
        stdout, stderr, status = _collect(client, timeout)
    except (WebSocketException, OSError) as error:
        raise KubeError(f"The connection to {where} broke while a command ran", found=str(error)) from error
    finally:
        client.close()
    if status is None:
        raise KubeError(
            f"A command in {where} has not ended",
            expected=f"an end within {timeout:g} s",
            found=f"{command[0]} still running",
        )
    return ExecResult(_exit_status(status, where), stdout, stderr)


def _collect(client: ws_client.WSClient, timeout: float) -> tuple[str, str, str | None]:
    """Both outputs and the status document, which the server sends last; None for it when time ran out."""
    parts: dict[int, list[str]] = {1: [], 2: [], 3: []}
    deadline = time.monotonic() + timeout
    while client.is_open() and not parts[3]:
        left = deadline - time.monotonic()
        if left <= 0:
            return "".join(parts[1]), "".join(parts[2]), None
        # One TLS record may hold several frames: what the TLS layer already holds is not seen by a poll.
        pending = getattr(client.sock.sock, "pending", lambda: 0)()
        client.update(timeout=0 if pending else left)
        for channel, texts in parts.items():
            text = client._channels.pop(channel, "")
            if text:
                texts.append(text)
    return "".join(parts[1]), "".join(parts[2]), "".join(parts[3]) or None


def _exit_status(status: str, where: str) -> int:
    document = yaml.safe_load(status)
    if document.get("status") == "Success":
        return 0
    for cause in (document.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    raise KubeError(
        f"No command can be run in {where}",
        reason=document.get("reason", ""),
        server_message=document.get("message", ""),
        expected="a command that exists in the image",
        found=document.get("message", status),
    )
