# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads facts about the machine this runs on. Nothing is changed: what needs root is asked with sudo -n."""

from __future__ import annotations

import errno
import getpass
import json
import os
import platform
import shutil
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._preflight.model import (
    Container,
    Machine,
    PodmanNetwork,
    Route,
)

__all__ = ["gather"]

_TIMEOUT = 30


def gather(*, paths: Iterable[str], sysctls: Iterable[str], ports: Iterable[int]) -> Machine:
    """The machine; `paths`, `sysctls` and `ports` are those that the rules will ask about."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    euid = os.geteuid()
    can_become = euid == 0 or _run(["sudo", "-n", "true"]) is not None
    networks = _json(_privileged(["podman", "network", "ls", "--format", "json"], euid))
    return Machine(
        system=release.get("ID", ""),
        system_version=release.get("VERSION_ID", ""),
        system_name=release.get("PRETTY_NAME", ""),
        euid=euid,
        can_become=can_become,
        user=getpass.getuser(),
        cpus=len(os.sched_getaffinity(0)),
        memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        disk_free={path: _free(Path(path)) for path in paths},
        sysctls={name: value for name in sysctls if (value := _sysctl(name)) is not None},
        routes=tuple(
            Route(_prefix(route["dst"]), route.get("dev", ""))
            for route in _json(_run(["ip", "-j", "-4", "route"]))
            if route["dst"] != "default"
        ),
        networks=tuple(_network(network) for network in networks),
        containers=tuple(
            Container(name, container.get("Labels") or {})
            for container in _json(_privileged(["podman", "ps", "--all", "--format", "json"], euid))
            for name in container.get("Names") or []
        ),
        bridge_nf=_read("/proc/sys/net/bridge/bridge-nf-call-iptables") == "1",
        nat_rules=tuple((_privileged(["iptables-save", "-t", "nat"], euid) or "").splitlines()),
        ports_taken=tuple(port for port in ports if _taken(port)),
    )


def _run(argv: Sequence[str]) -> str | None:
    """What a program printed; None when it is not installed, fails or hangs."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=_TIMEOUT)  # pylint: disable=ansible-bad-function
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _privileged(argv: Sequence[str], euid: int) -> str | None:
    # iptables-save lies in a directory that is not on every user's PATH.
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        return None
    return _run([*([] if euid == 0 else ["sudo", "-n"]), program, *argv[1:]])


def _json(text: str | None) -> list[dict[str, Any]]:
    try:
        answer = json.loads(text or "[]")
    except ValueError:
        return []
    return answer if isinstance(answer, list) else []


def _network(network: dict[str, Any]) -> PodmanNetwork:
    subnets = tuple(subnet["subnet"] for subnet in network.get("subnets") or [])
    return PodmanNetwork(network["name"], network.get("network_interface", ""), subnets, network.get("labels") or {})


def _prefix(destination: str) -> str:
    return destination if "/" in destination else f"{destination}/32"


def _free(path: Path) -> int:
    """Free bytes where `path` will lie, as df counts them; its nearest parent that exists decides."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _sysctl(name: str) -> tuple[int, bool] | None:
    path = f"/proc/sys/{name.replace('.', '/')}"
    value = _read(path)
    if value is None:
        return None
    # A read-only /proc/sys says so when the file is opened; without root the mount decides.
    writable = os.access(path, os.W_OK) or not os.statvfs(path).f_flag & os.ST_RDONLY
    return int(value), writable


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
