# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of k3s on a host: program, service, files, data; and whether what runs is what is written."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.api import Api, etcd_healthy
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.release import digest
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import run

__all__ = ["MARK", "TOOLS", "Layout", "Survey", "password", "survey"]

# The first line of every file that the role writes and may take away again.
MARK = "# Managed by Ansible, role celeryops.platform.k3s"
TOOLS = ("kubectl", "crictl", "ctr")
_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
_JOINS = re.compile(r"^[\"']?server[\"']?\s*:", re.MULTILINE)
# A process' start is known in hundredths of a second, rounded down.
_TICK = 0.02


@dataclass(frozen=True)
class Layout:
    """Where k3s keeps what, below ``root``, which is / but in tests."""

    data: Path = Path("/var/lib/rancher/k3s")
    config: Path = Path("/etc/rancher/k3s")
    program: Path = Path("/usr/local/bin/k3s")
    units: Path = Path("/etc/systemd/system")
    scripts: Path = Path("/etc/init.d")

    def service_files(self, name: str) -> list[Path]:
        return [
            self.units / f"{name}.service",
            self.units / f"{name}.service.env",
            self.scripts / name,
            self.config / f"{name}.env",
        ]

    def watched(self, name: str) -> list[Path]:
        """The files that k3s reads when it starts. The folder tells of drop-ins that were taken away."""
        drop_ins = self.config / "config.yaml.d"
        return [
            self.program,
            self.config / "config.yaml",
            drop_ins,
            *sorted(drop_ins.glob("*.yaml")),
            self.config / "registries.yaml",
            self.config / "token",
            *self.service_files(name),
        ]


def manager() -> str:
    """The init system: systemd, openrc, or nothing that the role knows."""
    if Path("/run/systemd/system").is_dir():
        return "systemd"
    return "openrc" if shutil.which("openrc-run", path="/sbin:/usr/sbin:/bin:/usr/bin") else ""


def password(token: str) -> str:
    """The secret part of a token, in its short or in its secure form."""
    text = token.strip()
    return text.rpartition(":")[2] if re.match(r"K10[0-9a-f]*::", text) else text


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _started(pid: int) -> float:
    """When a process began, in seconds since 1970; 0 when there is none."""
    stat = _text(Path(f"/proc/{pid}/stat")) if pid else ""
    if not stat:
        return 0.0
    ticks = int(stat.rpartition(")")[2].split()[19])
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return time.time() - age


def _systemd(name: str) -> dict[str, Any]:
    shown = run(["systemctl", "show", "--property=ActiveState,MainPID,UnitFileState", f"{name}.service"]).stdout
    facts = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    pid = int(facts.get("MainPID") or 0)
    return {
        "active": facts.get("ActiveState") == "active",
        "enabled": facts.get("UnitFileState") == "enabled",
        "started": _started(pid),
    }


def _openrc(layout: Layout, name: str) -> dict[str, Any]:
    if not (layout.scripts / name).exists():
        return {"active": False, "enabled": False, "started": 0.0}
    pid = _text(Path(f"/run/{name}.pid")).strip()
    return {
        "active": run(["rc-service", name, "status"], check=False).returncode == 0,
        "enabled": Path(f"/etc/runlevels/default/{name}").exists(),
        "started": _started(int(pid) if pid.isdigit() else 0),
    }


@dataclass
class Survey:
    """Everything that a run has to know of a host before it changes it."""

    layout: Layout
    role: str

    def read(self, token: str, images: bool) -> dict[str, Any]:
        layout, server = self.layout, self.layout.data / "server"
        init = manager()
        installed = self._installed()
        name = {"server": "k3s", "agent": "k3s-agent"}[self.role]
        service = _systemd(name) if init == "systemd" else _openrc(layout, name)
        known = _text(server / "token")
        machine = platform.machine()
        return {
            "manager": init,
            "architecture": _MACHINES.get(machine, machine),
            "hostname": socket.gethostname().lower(),
            "installed_as": installed,
            "version": self._version(),
            "sha256": digest(layout.program),
            "images": self._images() if images else {},
            "service": {"name": name, **service},
            "outdated": self._outdated(name, service["started"]),
            "initialised": bool(known),
            "joins": self._joins(),
            "datastore": "etcd" if (server / "db/etcd").is_dir() else "sqlite" if known else "",
            "ca": self._ca(),
            "token": "unknown"
            if not (known and token)
            else "matches"
            if password(known) == password(token)
            else "differs",
            "managed": self._managed(),
            "foreign_tools": self._foreign_tools(),
        }

    def health(self) -> dict[str, Any]:
        """Of a server: whether its API server and its etcd member are well, and what version runs."""
        api = Api(self.layout.config / "k3s.yaml")
        etcd = (self.layout.data / "server/db/etcd").is_dir()
        _status, version = api.get("/version")
        return {
            "ready": api.get("/readyz")[0] == 200,
            "version": (version or {}).get("gitVersion", ""),
            "etcd": etcd_healthy() if etcd else None,
        }

    def _installed(self) -> list[str]:
        """What the host is set up as: server, agent, or, wrongly, both."""
        names = {"server": "k3s", "agent": "k3s-agent"}
        return [
            role
            for role, name in names.items()
            if (self.layout.units / f"{name}.service").exists() or (self.layout.scripts / name).exists()
        ]

    def _version(self) -> str:
        if not os.access(self.layout.program, os.X_OK):
            return ""
        found = re.search(r"^k3s version (\S+)", run([str(self.layout.program), "--version"], check=False).stdout)
        return found.group(1) if found else ""

    def _images(self) -> dict[str, str]:
        folder = self.layout.data / "agent/images"
        return {path.name: digest(path) for path in sorted(folder.glob("k3s-airgap-images-*"))}

    def _joins(self) -> bool:
        """Whether the configuration names another server. That of a cluster's first server does not."""
        paths = (self.layout.config / "config.yaml", *sorted((self.layout.config / "config.yaml.d").glob("*.yaml")))
        return any(_JOINS.search(_text(path)) for path in paths)

    def _ca(self) -> str:
        for path in ("server/tls/server-ca.crt", "agent/server-ca.crt"):
            content = _text(self.layout.data / path)
            if content:
                return hashlib.sha256(content.encode()).hexdigest()
        return ""

    def _outdated(self, name: str, started: float) -> list[str]:
        """Files that were written after the running process began."""
        if not started:
            return []
        return [
            str(path) for path in self.layout.watched(name) if path.exists() and path.stat().st_mtime > started + _TICK
        ]

    def _foreign_tools(self) -> list[str]:
        """Names that k3s answers to and that something else on this host has taken."""
        program = self.layout.program
        elsewhere = ":".join(folder for folder in _FOLDERS if folder != str(program.parent))
        found = []
        for tool in TOOLS:
            link = program.with_name(tool)
            ours = link.is_symlink() and link.parent / link.readlink() == program
            if (os.path.lexists(link) and not ours) or shutil.which(tool, path=elsewhere):
                found.append(tool)
        return found

    def _managed(self) -> list[str]:
        """Files of the role that a later declaration may no longer want."""
        folder = self.layout.config
        paths = [folder / "registries.yaml", *sorted((folder / "config.yaml.d").glob("*.yaml"))]
        return [str(path) for path in paths if _text(path).startswith(MARK)]


def survey(layout: Layout, role: str, *, token: str, images: bool) -> dict[str, Any]:
    """The host as it is, with the health of its server where it is one."""
    found = Survey(layout, role)
    result = found.read(token, images)
    asked = role == "server" and result["service"]["active"]
    result["health"] = found.health() if asked else {"ready": False, "version": "", "etcd": None}
    return result
