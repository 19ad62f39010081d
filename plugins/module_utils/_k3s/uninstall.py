# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that k3s leaves on a host, found and taken away."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import TOOLS, Layout, manager
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import run

__all__ = ["bound_to_themselves", "descendants", "foreign_rules", "mounts_below", "remove"]

_NAMES = ("k3s", "k3s-agent")
_LINKS = ("cni0", "flannel.1", "flannel-v6.1", "kube-ipvs0", "flannel-wg", "flannel-wg-v6")
_MOUNTED = ("/run/k3s", "/var/lib/kubelet", "/run/netns/cni-")
_OURS = re.compile(r"KUBE-|CNI-|flannel", re.IGNORECASE)


def mounts_below(mounts: str, prefixes: Iterable[str]) -> list[str]:
    """Mount points of /proc/self/mounts that begin with one of these, the innermost first."""
    points = [line.split()[1].replace("\\040", " ") for line in mounts.splitlines() if len(line.split()) > 1]
    return sorted({point for point in points if point.startswith(tuple(prefixes))}, reverse=True)


def bound_to_themselves(mountinfo: str) -> set[str]:
    """Mount points of /proc/self/mountinfo that show the very folder they cover; kubelets are given such ones."""
    fields = [line.split() for line in mountinfo.splitlines()]
    return {parts[4] for parts in fields if len(parts) > 4 and parts[3] == parts[4] != "/"}


def foreign_rules(saved: str) -> str:
    """What iptables-save said, without the chains and rules of Kubernetes, CNI and flannel."""
    return "".join(line for line in saved.splitlines(keepends=True) if not _OURS.search(line))


def descendants(parents: dict[int, int], roots: Iterable[int]) -> list[int]:
    """These processes and all that came from them, children before their parents. ``parents`` is child to parent."""
    found = list(roots)
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid and child not in found]
    return list(reversed(found))


def _processes() -> tuple[dict[int, int], dict[int, str]]:
    """Child to parent, and process to command line, of all processes."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            # It has ended since.
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
        commands[int(folder.name)] = command
    return parents, commands


class _Uninstall:
    def __init__(self, layout: Layout, check: bool, actions: list[str]) -> None:
        self._layout = layout
        self._check = check
        self._actions = actions
        self._mounted: set[str] = set()

    def _do(self, action: str) -> bool:
        """Notes a step; whether it is to be taken."""
        self._actions.append(action)
        return not self._check

    def services(self) -> None:
        init = manager()
        for name in _NAMES:
            unit, script = self._layout.units / f"{name}.service", self._layout.scripts / name
            if init == "systemd" and unit.exists() and self._do(f"stop and disable {name}.service"):
                run(["systemctl", "disable", "--now", f"{name}.service"], timeout=300)
            if init == "openrc" and script.exists() and self._do(f"stop and disable {name}"):
                run(["rc-service", name, "stop"], check=False, timeout=300)
                run(["rc-update", "delete", name, "default"], check=False)

    def processes(self) -> None:
        """Pods outlive the service: their shims are what holds them."""
        parents, commands = _processes()
        data = re.escape(str(self._layout.data))
        shim = re.compile(rf"{data}/data/[^/]*/bin/containerd-shim|containerd-shim.* -address /run/k3s/")
        roots = [pid for pid, command in commands.items() if shim.search(command)]
        if roots and self._do(f"end {len(roots)} pods"):
            for pid in descendants(parents, roots):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    # It ended with its parent.
                    continue

    def mounts(self) -> None:
        prefixes = [*_MOUNTED, f"{self._layout.data}/"]
        text = Path("/proc/self/mounts").read_text(encoding="utf-8")
        own = bound_to_themselves(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
        for point in mounts_below(text, prefixes):
            if (point in own or not self._kept(Path(point))) and self._do(f"unmount {point}"):
                run(["umount", "--force", "--lazy", point])

    def _kept(self, point: Path) -> bool:
        """Whether an administrator mounted this for k3s: it is emptied and stays mounted."""
        return point == Path("/var/lib/kubelet") or point in (
            self._layout.data / part for part in ("", "storage", "data", "server", "agent")
        )

    def network(self) -> None:
        if not shutil.which("ip", path="/sbin:/usr/sbin:/bin:/usr/bin"):
            return
        links = json.loads(run(["ip", "-json", "link", "show"]).stdout or "[]")
        for link in links:
            name = link["ifname"]
            if (name in _LINKS or link.get("master") == "cni0") and self._do(f"remove the interface {name}"):
                run(["ip", "link", "delete", name], check=False)
        for path in sorted(Path("/run/netns").glob("cni-*")):
            if self._do(f"remove the network namespace {path.name}"):
                run(["ip", "netns", "delete", path.name], check=False)
                path.unlink(missing_ok=True)
        for tool in ("iptables", "ip6tables"):
            if not shutil.which(f"{tool}-save", path="/sbin:/usr/sbin:/bin:/usr/bin"):
                continue
            saved = run([f"{tool}-save"], check=False).stdout
            rest = foreign_rules(saved)
            if rest != saved and self._do(f"remove the rules of Kubernetes from {tool}"):
                run([f"{tool}-restore"], stdin=rest)

    def files(self) -> None:
        """The program and its data come last: by them an interrupted run is found again."""
        layout, program = self._layout, self._layout.program
        paths = [file for name in _NAMES for file in layout.service_files(name)]
        paths += [Path(f"/etc/logrotate.d/{name}") for name in _NAMES] + [
            Path(f"/var/log/{name}.log") for name in _NAMES
        ]
        paths += [program.with_name(name) for name in ("k3s-killall.sh", "k3s-uninstall.sh", "k3s-agent-uninstall.sh")]
        paths += [
            link
            for link in map(program.with_name, TOOLS)
            if link.is_symlink() and link.parent / link.readlink() == program
        ]
        paths += [Path(path) for path in ("/run/k3s", "/run/flannel", "/var/lib/cni", "/var/lib/kubelet")]
        # The node's password: a host that comes back under its name gets a new one.
        paths += [layout.config.parent / "node", layout.config, layout.data, program]
        # Not os.path.ismount, which does not see a folder of the same file system mounted over another.
        self._mounted = set(mounts_below(Path("/proc/self/mounts").read_text(encoding="utf-8"), ["/"]))
        for path in paths:
            if self._there(path) and self._do(f"remove {path}"):
                self._attempt(path)
        for parent in (layout.config.parent, layout.data.parent):
            if not self._check and parent.is_dir() and not any(parent.iterdir()) and str(parent) not in self._mounted:
                parent.rmdir()

    def _there(self, path: Path) -> bool:
        """Whether there is something to remove; an emptied mount point is nothing."""
        if str(path) in self._mounted:
            return any(path.iterdir())
        return os.path.lexists(path)

    def _attempt(self, path: Path) -> None:
        try:
            self._remove(path)
        except OSError as error:
            raise CeleryOpsError(
                f"{path} cannot be removed",
                expected="nothing that holds it",
                found=str(error),
                remedy="see which process or mount holds it, and run the playbook again",
            ) from error

    def _remove(self, path: Path) -> None:
        """Removes a file or a folder; of one that is an administrator's mount point, what is in it."""
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        mounted = str(path) in self._mounted
        if mounted and not self._kept(path):
            # Whatever this is, its content is not k3s' own.
            raise CeleryOpsError(
                f"{path} is still mounted",
                expected="only mounts of k3s in its folders, which are unmounted first",
                found=f"a mount at {path}",
                remedy="unmount it, and run the playbook again",
            )
        for inner in path.iterdir():
            self._remove(inner)
        if not mounted and not any(path.iterdir()):
            path.rmdir()

    def reload(self) -> None:
        if self._actions and not self._check and manager() == "systemd":
            run(["systemctl", "daemon-reload"])
            run(["systemctl", "reset-failed", *(f"{name}.service" for name in _NAMES)], check=False)


def remove(layout: Layout, *, check: bool, result: dict[str, Any]) -> None:
    """Fills in the steps taken. A host without a trace of k3s is left alone: /var/lib/kubelet may be another's."""
    traces = [layout.program, layout.data, layout.config, *(file for n in _NAMES for file in layout.service_files(n))]
    # A file system that an administrator mounted stays, and is no trace when it is empty.
    if not any(path.is_symlink() or path.is_file() or (path.is_dir() and any(path.iterdir())) for path in traces):
        return
    actions: list[str] = result["actions"]
    uninstall = _Uninstall(layout, check, actions)
    try:
        uninstall.services()
        uninstall.processes()
        uninstall.mounts()
        uninstall.network()
        uninstall.files()
        uninstall.reload()
    finally:
        result["changed"] = bool(actions)
