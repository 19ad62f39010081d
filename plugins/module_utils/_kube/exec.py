# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands in pods, through the API server."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .client import Api
from .errors import KubeError, Unreachable
from .resources import ObjectRef

if TYPE_CHECKING:
    from .channels import Channels

__all__ = ["ExecResult", "exec_in_pod"]

# v5 adds a message that ends the command's input; Kubernetes speaks it since 1.30.
_WITH_END, _WITHOUT_END = "v5.channel.k8s.io", "v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _STATUS, _CLOSE = 0, 1, 2, 3, 255
_CHUNK = 32 * 1024


@dataclass(frozen=True, slots=True)
class ExecResult:
    """Exit code and output of a command."""

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
    """Runs `command` (no shell) and returns when it has ended; its input ends after `stdin`.

    A command that does not end within `timeout` seconds raises KubeError; it may go on in the pod. Secrets
    belong into `stdin`: the command line stands in the API server's audit log. The end of a command that leaves more
    than 64 KiB of its input unread may never be told: the container runtime goes on writing.
    """
    query: list[tuple[str, Any]] = [("command", part) for part in command]
    query += [("stdout", "true"), ("stderr", "true")]
    if container:
        query.append(("container", container))
    if stdin is not None:
        query.append(("stdin", "true"))
    what = f"exec of {command[0]} in Pod {namespace}/{pod}"
    path = api.path(ObjectRef("v1", "Pod", pod, namespace), "exec")
    deadline = time.monotonic() + timeout
    protocols = [_WITH_END, _WITHOUT_END] if stdin is None else [_WITH_END]
    with api.channels(path, query, protocols, timeout, what) as channels:
        output: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
        try:
            if stdin is not None:
                # The server closes its side when the command has ended; what it answered is still to be collected,
                # and where there is no answer the missing status says so below.
                with contextlib.suppress(Unreachable):
                    _feed(channels, stdin.encode(), output, deadline)
            _collect(channels, output, deadline)
        except Unreachable as error:
            raise _lost(what, str(error)) from error
        if time.monotonic() >= deadline and not output[_STATUS]:
            raise KubeError(
                f"{what} did not end",
                expected=f"an end within {timeout:g} s",
                found=_tail(output) or "no output",
                remedy="raise the timeout if the command needs longer, or look for what it waits for",
            )
    if not output[_STATUS]:
        raise _lost(what, "the stream ended before the command did")
    text = {channel: bytes(data).decode("utf-8", "replace") for channel, data in output.items()}
    return ExecResult(_exit_code(what, json.loads(text[_STATUS])), text[_STDOUT], text[_STDERR])


def _feed(channels: Channels, data: bytes, output: dict[int, bytearray], deadline: float) -> None:
    """Sends the input while taking what comes: a command may answer, or end, before it has read all of it."""
    frames = [channels.framed(_STDIN, data[start : start + _CHUNK]) for start in range(0, len(data), _CHUNK)]
    left = b"".join([*frames, channels.framed(_CLOSE, bytes([_STDIN]))])
    while left and not output[_STATUS] and time.monotonic() < deadline:
        readable, writable = channels.ready(deadline - time.monotonic())
        if readable and not _take(channels, output):
            return
        if writable:
            left = left[channels.push(left) :]


def _collect(channels: Channels, output: dict[int, bytearray], deadline: float) -> None:
    while not output[_STATUS] and channels.readable(deadline - time.monotonic()):
        if not _take(channels, output):
            return


def _take(channels: Channels, output: dict[int, bytearray]) -> bool:
    message = channels.receive()
    if message is None:
        return False
    channel, data = message
    if channel in output:
        output[channel] += data
    return True


def _exit_code(what: str, status: dict[str, Any]) -> int:
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode":
            return int(cause["message"])
    said = str(status.get("message") or status)
    raise KubeError(
        f"{what} did not start: {said}",
        status=int(status.get("code") or 500),
        reason=str(status.get("reason") or ""),
        server_message=said,
        remedy="check that the pod runs and that its image holds the command",
    )


def _tail(output: dict[int, bytearray]) -> str:
    text = bytes(output[_STDERR] or output[_STDOUT]).decode("utf-8", "replace").strip()
    return " / ".join(text.splitlines()[-3:])


def _lost(what: str, found: str) -> KubeError:
    return KubeError(
        f"{what}: the connection was lost",
        expected="the command's exit code",
        found=found,
        remedy="see whether the pod was replaced or the API server restarted, then run again",
    )
