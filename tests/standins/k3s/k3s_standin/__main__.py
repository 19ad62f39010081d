# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command ``k3s``, also under the names kubectl and ctr, for which k3s leaves links to itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from .agent import run_agent
from .containerd import SOCKET
from .options import COMMANDS, TABLE, Options, UsageError, parse
from .processes import Fatal, log
from .release import Release, release
from .server import run_server
from .snapshots import ACTIONS, run_snapshot

_PASSED_ON = ("kubectl", "ctr")


def main() -> int:
    """The exit status."""
    called = Path(sys.argv[0]).name
    arguments = [called, *sys.argv[1:]] if called in (*_PASSED_ON, "crictl") else sys.argv[1:]
    try:
        return _run(arguments, release())
    except UsageError as error:
        log("fatal", f"Error: {error}")
    except Fatal as error:
        log("fatal", str(error))
    return 1


def _run(arguments: list[str], packed: Release) -> int:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command in ("--version", "-v"):
        print(f"k3s version {packed.version} (standin)")
        print("this is k3s-standin: upstream components behind k3s's command line, for tests")
        return 0
    if command in _PASSED_ON:
        return _pass_on(command, rest, packed)
    if command == "etcd-snapshot":
        action = ACTIONS.get(rest[0] if rest else "")
        if action is None:
            raise UsageError(f"etcd-snapshot needs one of {', '.join(ACTIONS)}")
        run_snapshot(action, parse(command, rest[1:]))
    elif command in COMMANDS:
        options = parse(command, rest)
        _say(command, options, packed)
        (run_server if command == "server" else run_agent)(options, packed)
    else:
        raise UsageError(f"No help topic for '{command}' in the stand-in: it has {', '.join((*COMMANDS, *_PASSED_ON))}")
    return 0


def _say(command: str, options: Options, packed: Release) -> None:
    log("info", f"Starting k3s {command} {packed.version} (standin)")
    for name in options.without_effect():
        log("warning", f"--{name} is k3s's, and has no effect in the stand-in")


def _pass_on(command: str, arguments: list[str], packed: Release) -> int:
    program = packed.program(command)
    if command == "ctr":
        os.environ.setdefault("CONTAINERD_ADDRESS", SOCKET)
        os.environ.setdefault("CONTAINERD_NAMESPACE", "k8s.io")
    else:
        os.environ.setdefault("KUBECONFIG", str(TABLE["defaults"]["write-kubeconfig"]))
    # The program takes this one's place, with its input, output and status.
    os.execv(program, [command, *arguments])  # noqa: S606


if __name__ == "__main__":
    sys.exit(main())
