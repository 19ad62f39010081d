# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The components as children that live and die with this process, as if they were part of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

__all__ = ["Children", "Fatal", "log", "notify", "run", "wait_until"]

# Seconds. An API server waits much longer for its watches, which k3s's does not.
_PATIENCE = 5
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Fatal(Exception):
    """What ends k3s with level=fatal."""


def log(level: str, message: str) -> None:
    """One line in k3s's format."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    print(f'time="{stamp}" level={level} msg="{quoted}"', file=sys.stderr, flush=True)


def notify(state: str) -> None:
    """Tell systemd, where it asked to be told."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            datagram.connect("\0" + address[1:] if address.startswith("@") else address)
            datagram.sendall(state.encode())


class Children:
    """Starts components and ends them again. All starts come from the main thread: the kernel ends a child with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = threading.Event()

    def obey_signals(self) -> None:
        """SIGTERM and SIGINT ask for the end; whoever waits notices."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stopping.set())

    def start(self, name: str, *arguments: str, output: Path | None = None) -> None:
        """Start the component `name` of the staged programs; its output goes to `output` or to the journal."""
        environment = {**os.environ, "PATH": f"{self._folder}:{os.environ.get('PATH', _PATH)}"}
        # systemd's socket is k3s's alone: a component that speaks to it would announce readiness too early.
        environment.pop("NOTIFY_SOCKET", None)
        log("info", f"Running {name} {' '.join(arguments)}")
        stream = output.open("ab") if output else None
        try:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", str(self._folder / name), *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT if stream else None,
            )
        finally:
            if stream:
                stream.close()

    def ended(self) -> str:
        """The name of a component that is gone, or nothing."""
        return next((name for name, process in self._running.items() if process.poll() is not None), "")

    def stop(self) -> None:
        """End all components at once, as k3s's are gone with its process; etcd last, for the others write to it."""
        etcd = self._running.pop("etcd", None)
        _end(self._running)
        self._running = {}
        if etcd:
            _end({"etcd": etcd})


def wait_until(children: Children, ready: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Return when `ready` is true; Fatal when a component ended, the end was asked for, or time is up."""
    deadline = time.monotonic() + seconds
    while not ready():
        if gone := children.ended():
            raise Fatal(f"{what}: {gone} ended")
        if children.stopping.wait(0.2):
            raise Fatal(f"{what}: interrupted")
        if time.monotonic() > deadline:
            raise Fatal(f"{what}: not within {seconds:.0f} s")


def _end(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    for process in processes.values():
        process.terminate()
    deadline = time.monotonic() + _PATIENCE
    for name, process in processes.items():
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log("info", f"{name} still had something open {_PATIENCE} s after SIGTERM; it is killed")
            process.kill()
            process.wait()


def run(arguments: Sequence[str], *, environment: Mapping[str, str] | None = None, text: str = "") -> str:
    """Run a command to its end and return what it printed; Fatal says what it complained about."""
    env = {**os.environ, **(environment or {})}
    done = subprocess.run(list(arguments), capture_output=True, text=True, input=text, env=env, check=False)
    if done.returncode != 0:
        raise Fatal(f"{Path(arguments[0]).name} {' '.join(arguments[1:3])}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
