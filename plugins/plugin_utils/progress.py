# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's end of live progress: shows the lines that a module reports, while it runs."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.celeryops.platform.plugins.module_utils._progress import CHANNEL, LONGEST, Report, Reporter

__all__ = ["execute", "shown"]

# No line of a module holds a NUL.
_END = b"\0\n"


def execute(action: ActionBase, task_vars: Mapping[str, Any], **options: Any) -> dict[str, Any]:
    """Runs the action's module, as `_execute_module` with the same options does, and shows its progress live.

    Only a module on the controller itself can be listened to, and only while the task waits for it. Otherwise, and
    under `no_log`, nothing is shown; a Reporter keeps the lines for the result in any case.
    """
    task = action._task
    with _channel(action, str(task_vars["inventory_hostname"])) as path:
        given = task.environment
        if path:
            task.environment = [*(given if isinstance(given, list) else [given]), {CHANNEL: path}]
        try:
            result: dict[str, Any] = action._execute_module(task_vars=task_vars, wrap_async=task.async_val, **options)
        finally:
            # A loop or `until` comes here again with the same task.
            task.environment = given
    return result


def shown(action: ActionBase, task_vars: Mapping[str, Any], lines: list[str]) -> Report:
    """A Reporter for what runs in this very process; it shows its lines itself."""
    keep, host = Reporter(lines), str(task_vars["inventory_hostname"])

    def report(line: str) -> None:
        keep(line)
        if not action._task.no_log:
            _display(host, lines[-1].encode()[:LONGEST])

    return report


@contextmanager
def _channel(action: ActionBase, host: str) -> Iterator[str | None]:
    task = action._task
    if action._connection.transport != "local" or task.async_val or task.no_log:
        yield None
        return
    path = Path(C.DEFAULT_LOCAL_TMP, f"progress-{uuid.uuid4().hex}")
    os.mkfifo(path, 0o600)
    # Held open for writing too, it does not end with the module, however that ends, but with the mark below.
    channel = os.open(path, os.O_RDWR)
    listener = threading.Thread(target=_show, args=(channel, host), daemon=True)
    listener.start()
    try:
        yield str(path)
    finally:
        os.write(channel, _END)
        listener.join()
        os.close(channel)
        path.unlink()


def _show(channel: int, host: str) -> None:
    rest = b""
    while True:
        *lines, rest = (rest + os.read(channel, 65536)).split(b"\n")
        for line in lines:
            if line == _END[:-1]:
                return
            _display(host, line)


def _display(host: str, line: bytes) -> None:
    Display().display(f"progress: [{host}] => {line.decode(errors='replace')}", color=C.COLOR_VERBOSE)
