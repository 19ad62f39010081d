# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs commands in turn and prints what each took. Sent to a container as text, so it stands alone; Python 3.9 on.

Its only argument is JSON: `commands`, a name and an argument vector each, and `repetitions`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

MARK = "CELERYOPS-COSTS "


def cost(command: list[str]) -> dict[str, float]:
    """Seconds of wall time and of CPU, with all of the command's own children, and MiB of its resident peak."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert process.stdout is not None
    said = process.stdout.read()
    _pid, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}: {said.decode(errors='replace')[-2000:]}")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss / 1024}


def main(text: str) -> None:
    given = json.loads(text)
    commands = list(given["commands"].items())
    for _name, command in commands:
        # One run that does not count: files are in the cache after it.
        cost(command)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name, _command in commands}
    for number in range(given["repetitions"]):
        # Who was first is last the next time.
        for name, command in commands if number % 2 else reversed(commands):
            runs[name].append(cost(command))
    print(MARK + json.dumps(runs), flush=True)


if __name__ == "__main__":
    main(sys.argv[-1])
