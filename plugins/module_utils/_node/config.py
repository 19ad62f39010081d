# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, links, kernel settings, routes and units of a node, compared and applied in one go."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["File", "Link", "Outcome", "Route", "Unit", "apply", "run"]

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class File:
    """A file with this content. ``mode`` is octal text such as "0644"."""

    path: str
    content: str
    mode: str = "0644"


@dataclass(frozen=True)
class Link:
    """A symbolic link ``path`` → ``target``. A target that is not there is reported, not linked."""

    path: str
    target: str


@dataclass(frozen=True)
class Route:
    """Traffic for ``destination`` (CIDR) goes to the neighbour ``via``."""

    destination: str
    via: str


@dataclass(frozen=True)
class Unit:
    """A systemd unit. After a change of one of ``watches`` a running one is outdated."""

    name: str
    enabled: bool = True
    started: bool = True
    watches: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What changed, and what the caller has to see to."""

    actions: list[str] = field(default_factory=list)
    changed_paths: list[str] = field(default_factory=list)
    missing_targets: list[str] = field(default_factory=list)
    missing_packages: list[str] = field(default_factory=list)
    outdated_units: list[str] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)

    def dump(self) -> dict[str, Any]:
        return {
            "changed": bool(self.actions),
            "actions": self.actions,
            "changed_paths": self.changed_paths,
            "missing_targets": self.missing_targets,
            "missing_packages": self.missing_packages,
            "outdated_units": self.outdated_units,
            "diff": self.diff,
        }


def run(
    command: Sequence[str], *, check: bool = True, timeout: float = 120, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command with the usual PATH of root; a failure is an error with what the command said."""
    environment = {"PATH": _PATH, "LC_ALL": "C", "HOME": "/root"}
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(command), capture_output=True, text=True, timeout=timeout, check=False, env=environment, input=stdin
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise CeleryOpsError(
            f"`{' '.join(command)}` could not be run to its end",
            expected=f"{command[0]} on PATH, and an end within {timeout:.0f} s",
            found=str(error),
            remedy="see whether the program is installed and the node is not overloaded",
        ) from error
    if check and done.returncode != 0:
        raise CeleryOpsError(
            f"`{' '.join(command)}` failed",
            expected="exit code 0",
            found=f"exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}",
            remedy="the message is the tool's own",
        )
    return done


def missing_packages(packages: Sequence[str]) -> list[str]:
    """Those of ``packages`` that dpkg does not list as installed."""
    if not packages:
        return []
    if shutil.which("dpkg-query", path=_PATH) is None:
        raise CeleryOpsError(
            "This system cannot be a node",
            expected="Debian 12, with dpkg",
            found="no dpkg-query",
            remedy="use a Debian machine, or install the packages yourself and empty the list of packages",
        )
    shown = run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages], check=False
    ).stdout
    installed = {line.split()[0] for line in shown.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in installed]


def _file(item: File, check: bool, outcome: Outcome) -> None:
    path = Path(item.path)
    mode = int(item.mode, 8)
    before, now = None, None
    if path.is_file() and not path.is_symlink():
        before = path.read_text(encoding="utf-8", errors="replace")
        now = stat.S_IMODE(path.stat().st_mode)
    if before == item.content and now == mode:
        return
    outcome.actions.append(f"write {item.path}")
    outcome.changed_paths.append(item.path)
    if mode & 0o077:  # what only root may read is not shown either
        outcome.diff.append({"header": item.path, "before": before or "", "after": item.content})
    if check:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(item.content)
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _link(item: Link, check: bool, outcome: Outcome) -> None:
    if not Path(item.target).exists():
        outcome.missing_targets.append(item.target)
        return
    path = Path(item.path)
    if path.is_symlink() and str(path.readlink()) == item.target:
        return
    outcome.actions.append(f"link {item.path} to {item.target}")
    outcome.changed_paths.append(item.path)
    if check:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(item.target)
    temporary.replace(path)


def _sysctl(name: str, value: str, check: bool, outcome: Outcome) -> None:
    path = Path("/proc/sys") / name.replace(".", "/")
    found = path.read_text(encoding="ascii").split() if path.exists() else None
    if found == value.split():
        return
    outcome.actions.append(f"set {name} to {value}")
    if check:
        return
    try:
        path.write_text(f"{value}\n", encoding="ascii")
    except OSError as error:
        raise CeleryOpsError(
            f"The kernel setting {name} cannot be set on this node",
            expected=value,
            found=f"{' '.join(found) if found else 'no such setting'} ({error.strerror})",
            remedy="load the kernel module it belongs to, or set it on the machine that the node runs on",
        ) from error


def _module(name: str, check: bool, outcome: Outcome) -> None:
    # What is built into the kernel has no entry under /sys/module unless it takes parameters.
    built_in = {"br_netfilter": Path("/proc/sys/net/bridge")}.get(name)
    if Path(f"/sys/module/{name}").exists() or (built_in is not None and built_in.exists()):
        return
    if name in Path("/proc/filesystems").read_text(encoding="ascii").split():
        return
    outcome.actions.append(f"load kernel module {name}")
    if not check:
        run(["modprobe", name])


def _routes(routes: Sequence[Route], check: bool, outcome: Outcome) -> None:
    if not routes:
        return
    present = {
        (route["dst"], route.get("gateway")) for route in json.loads(run(["ip", "-json", "-4", "route"]).stdout or "[]")
    }
    for route in routes:
        if (route.destination, route.via) not in present:
            outcome.actions.append(f"route {route.destination} via {route.via}")
            if not check:
                run(["ip", "route", "replace", route.destination, "via", route.via])


def _units(units: Sequence[Unit], check: bool, outcome: Outcome) -> None:
    if not units:
        return
    names = [unit.name for unit in units]
    if not check:
        shown = run(["systemctl", "show", "--property=NeedDaemonReload", *names], check=False).stdout
        if "yes" in shown or any("/systemd/" in path for path in outcome.changed_paths):
            run(["systemctl", "daemon-reload"])
    enabled = run(["systemctl", "is-enabled", *names], check=False).stdout.split("\n")
    active = run(["systemctl", "is-active", *names], check=False).stdout.split("\n")
    # is-enabled says nothing on standard output about a unit that does not exist
    known = len([line for line in enabled if line]) == len(names)
    for index, unit in enumerate(units):
        if unit.enabled and not (known and enabled[index] == "enabled"):
            outcome.actions.append(f"enable {unit.name}")
            if not check:
                run(["systemctl", "enable", "--quiet", unit.name])
        running = active[index] in ("active", "activating", "reloading")
        if unit.started and not running:
            outcome.actions.append(f"start {unit.name}")
            if not check:
                run(["systemctl", "start", unit.name])
        elif running and set(unit.watches) & set(outcome.changed_paths):
            outcome.outdated_units.append(unit.name)


def apply(
    *,
    packages: Sequence[str] = (),
    files: Sequence[File] = (),
    links: Sequence[Link] = (),
    kernel_modules: Sequence[str] = (),
    sysctls: dict[str, str] | None = None,
    routes: Sequence[Route] = (),
    units: Sequence[Unit] = (),
    check: bool,
    outcome: Outcome,
) -> None:
    """Compare and apply in this order, noting each step in ``outcome``.

    Units are left for the next call while packages or link targets are missing: they could not start.
    """
    outcome.missing_packages = missing_packages(packages)
    for item in files:
        _file(item, check, outcome)
    for link in links:
        _link(link, check, outcome)
    for name in kernel_modules:
        _module(name, check, outcome)
    for name, value in (sysctls or {}).items():
        _sysctl(name, str(value), check, outcome)
    _routes(routes, check, outcome)
    if not (outcome.missing_packages or outcome.missing_targets):
        _units(units, check, outcome)
