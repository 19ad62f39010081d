# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""podman's command line, iproute2 and iptables, as the plan needs them. podman 4 and newer."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.plan import (
    PLATFORM_LABEL,
    SPEC_LABEL,
    Action,
    Container,
    Node,
    Observed,
    Platform,
)

__all__ = ["Host", "Podman", "run"]

# Longest step: removing a container whose overlay holds a few GB of images.
COMMAND_TIMEOUT = 180

# What systemd needs as PID 1, without podman's own systemd mode: on cgroup v1 that mode mounts the host's whole
# name=systemd hierarchy into the container. All nodes would share it, and one that shuts down removes the groups
# of the others, whose containers then cannot be started or entered any more.
_SYSTEMD = (
    *("--systemd=false", "--stop-signal=SIGRTMIN+3"),
    *("--tmpfs", "/run:rw,exec,nosuid,nodev,mode=755", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108 - paths inside the node
)


def run(command: Sequence[str], *, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end. A failure is an error with what the command said."""
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function
            list(command), input=stdin, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise CeleryOpsError(
            f"{command[0]} is not installed",
            expected=f"{command[0]} on PATH",
            found=str(error),
            remedy="install the packages of local_nodes_packages, or let the role do it as root",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise CeleryOpsError(
            f"`{' '.join(command[:3])}` did not end",
            expected=f"an answer within {COMMAND_TIMEOUT} s",
            found="none",
            remedy="look at `podman ps -a` and the host's load, then run again",
        ) from error
    if check and done.returncode != 0:
        raise CeleryOpsError(
            f"`{' '.join(command[:3])}` failed",
            expected="exit code 0",
            found=f"exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}",
            remedy="the message is the tool's own; `podman info` shows how podman is set up here",
        )
    return done


class Podman:
    """Reads what is there, and takes one action at a time."""

    def __init__(self, binary: str = "podman") -> None:
        self._binary = binary

    def _json(self, *args: str) -> Any:
        return json.loads(run([self._binary, *args]).stdout or "null") or []

    def observe(self, image: str | None = None) -> Observed:
        containers = {
            c["Names"][0]: Container(c["Names"][0], c["State"] == "running", c.get("Labels") or {})
            for c in self._json("ps", "--all", "--format", "json")
        }
        listed = self._json("volume", "ls", "--format", "json")
        volumes = {v["Name"]: v.get("Labels") or {} for v in listed}
        filled = {
            v["Name"] for v in listed if PLATFORM_LABEL in volumes[v["Name"]] and any(Path(v["Mountpoint"]).iterdir())
        }
        networks = {
            n["name"]: {
                "labels": n.get("labels") or {},
                "subnet": next((s["subnet"] for s in n.get("subnets") or []), None),
                "bridge": n.get("network_interface", ""),
            }
            for n in self._json("network", "ls", "--format", "json")
        }
        present = image is None or run([self._binary, "image", "exists", image], check=False).returncode == 0
        return Observed(containers, networks, volumes, present, frozenset(filled))

    def bridge(self, network: str) -> str:
        found = self._json("network", "inspect", network)
        return str(found[0]["network_interface"])

    def apply(self, action: Action, platform: Platform | None) -> None:
        if action.verb == "remove":
            self._remove(action)
        elif action.verb == "start":
            run([self._binary, "start", action.name])
        elif action.verb == "load" and platform is not None:
            run([self._binary, "load", "--quiet", "--input", platform.archive])
        elif platform is not None:
            self._create(action, platform)

    def _remove(self, action: Action) -> None:
        # PID 1 of a node is its systemd: with it everything in the node ends, and nothing in there is to be
        # kept.
        extra = {"container": ["--force", "--time", "0"], "volume": ["--force"], "network": ["--force"]}[action.kind]
        run([self._binary, *([] if action.kind == "container" else [action.kind]), "rm", *extra, action.name])

    def _create(self, action: Action, platform: Platform) -> None:
        label = ["--label", f"{PLATFORM_LABEL}={platform.name}"]
        if action.kind == "network":
            # --internal: no default route in the nodes, so that nothing of the cluster's ranges leaves this
            # machine.
            subnet = ["--subnet", platform.network.subnet]
            run([self._binary, "network", "create", "--internal", *subnet, *label, action.name])
        elif action.kind == "volume":
            run([self._binary, "volume", "create", *label, action.name])
        elif action.node is not None:
            run(self._create_container(action, action.node, platform, label))

    def _create_container(self, action: Action, node: Node, platform: Platform, label: list[str]) -> list[str]:
        # Images in a node carry set-uid programs and device nodes; podman mounts volumes without either by
        # default.
        volumes = [
            arg for path in platform.volumes for arg in ("-v", f"{platform.volume(node, path)}:{path}:dev,suid,exec")
        ]
        mounts = [
            arg
            for mount in platform.mounts
            for arg in ("-v", f"{mount.source}:{mount.target}:{'ro' if mount.read_only else 'rw'}")
        ]
        return [
            *(self._binary, "create", "--name", action.name, "--hostname", node.name, *label),
            *("--label", f"{SPEC_LABEL}={json.dumps(platform.spec(node), sort_keys=True)}"),
            *("--network", platform.network.name, "--ip", node.address),
            *("--privileged", "--cgroupns=private", "--pids-limit=-1"),
            *_SYSTEMD,
            *("--runtime", platform.runtime, "--pull=never", "--stop-timeout", "10"),
            *(arg for ulimit in platform.ulimits for arg in ("--ulimit", ulimit)),
            *volumes,
            *mounts,
            platform.image,
        ]

    def execute(self, container: str, script: str, *, stdin: str | None = None, check: bool = True) -> str:
        """Run a shell script in a running container; its standard output."""
        flags = ["-i"] if stdin is not None else []
        return run([self._binary, "exec", *flags, container, "sh", "-c", script], stdin=stdin, check=check).stdout


class Host:
    """The machine that the nodes share: kernel limits, the bridge's address, its packet filter."""

    def too_low(self, minimums: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Kernel setting → (found, wanted), for those below what the nodes need."""
        low = {}
        for name, wanted in minimums.items():
            found = int(self._sysctl(name).read_text(encoding="ascii").split()[0])
            if found < wanted:
                low[name] = (found, wanted)
        return low

    def raise_to(self, name: str, value: int) -> None:
        try:
            self._sysctl(name).write_text(f"{value}\n", encoding="ascii")
        except OSError as error:
            raise CeleryOpsError(
                f"The kernel setting {name} is too low for the nodes and cannot be raised from here",
                expected=f"at least {value}",
                found=f"{self._sysctl(name).read_text(encoding='ascii').strip()} ({error.strerror})",
                remedy=f"run `sysctl -w {name}={value}` on the machine itself",
            ) from error

    @staticmethod
    def _sysctl(name: str) -> Path:
        path = Path("/proc/sys") / name.replace(".", "/")
        if not path.exists():
            raise CeleryOpsError(
                f"There is no kernel setting {name}",
                expected=str(path),
                found="no such file",
                remedy="correct local_nodes_kernel_minimums",
            )
        return path

    def has_address(self, interface: str, address: str) -> bool:
        done = run(["ip", "-json", "address", "show", "dev", interface], check=False)
        if done.returncode != 0:
            return False
        return any(
            info.get("local") == address for link in json.loads(done.stdout) for info in link.get("addr_info", [])
        )

    def add_address(self, interface: str, address: str, prefix_length: int) -> None:
        run(["ip", "address", "replace", f"{address}/{prefix_length}", "dev", interface])

    def drops_between_nodes(self, interface: str) -> bool:
        """Whether the host's own packet filter would drop frames that merely cross the bridge.

        With bridge-nf-call-iptables they pass the FORWARD chain, whose policy Docker, for one, sets to DROP;
        podman opens it for the nodes' addresses, not for the pods'.
        """
        flag = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
        if not flag.exists() or flag.read_text(encoding="ascii").strip() != "1":
            return False
        rules = run(["iptables", "-S", "FORWARD"]).stdout.splitlines()
        if "-P FORWARD ACCEPT" in rules:
            return False
        return run(["iptables", "-C", *self._rule(interface)], check=False).returncode != 0

    def accept_between_nodes(self, interface: str) -> None:
        run(["iptables", "-I", *self._rule(interface)])

    def forget_between_nodes(self, interface: str) -> bool:
        return run(["iptables", "-D", *self._rule(interface)], check=False).returncode == 0

    @staticmethod
    def _rule(interface: str) -> list[str]:
        match = ["-i", interface, "-o", interface, "-m", "comment", "--comment", "celeryops local nodes"]
        return ["FORWARD", *match, "-j", "ACCEPT"]
