# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH access to a node: its own host key, the controller's key, and a server that answers."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.podman import Podman

__all__ = ["Access", "read", "set_up", "wait_for_ssh"]

_HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
_AUTHORIZED = "/root/.ssh/authorized_keys"


@dataclass(frozen=True)
class Access:
    """The node's public host key ("ssh-ed25519 AAAA…"), and whether it lets the controller in."""

    host_key: str
    authorized: bool


def read(podman: Podman, container: str, key: str) -> Access:
    """Read through podman, not over the network: the key is the node's own, not whoever's answers first."""
    text = podman.execute(container, f"cat {_HOST_KEY}.pub 2>/dev/null || echo; cat {_AUTHORIZED} 2>/dev/null || true")
    first, _newline, rest = text.partition("\n")
    return Access(" ".join(first.split()[:2]), key.strip() in rest.splitlines())


def set_up(podman: Podman, container: str, key: str) -> None:
    """Give the node a host key of its own where it has none, and the controller's key."""
    # First let the node boot: an image may make keys in its SSH server's unit, and two at it would mix their
    # halves.
    script = f"""
set -e
i=0
until state=$(systemctl is-system-running --wait 2>/dev/null); [ -n "$state" ] && [ "$state" != offline ]; do
  i=$((i + 1)); [ "$i" -lt 100 ] || {{ echo 'systemd of the node does not answer' >&2; exit 1; }}
  sleep 0.1
done
install -d -m 700 /root/.ssh
cat > {_AUTHORIZED}.new
chmod 600 {_AUTHORIZED}.new
mv {_AUTHORIZED}.new {_AUTHORIZED}
[ -s {_HOST_KEY}.pub ] || ssh-keygen -A > /dev/null
systemctl is-active --quiet ssh || systemctl restart ssh
"""
    podman.execute(container, script, stdin=key.strip() + "\n")


def wait_for_ssh(name: str, address: str, timeout: float) -> None:
    """Until the node's SSH server sends its banner."""
    deadline = time.monotonic() + timeout
    reason = "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection((address, 22), timeout=2) as connection:
                connection.settimeout(2)
                if connection.recv(4) == b"SSH-":
                    return
                reason = "something that is not an SSH server answers"
        except OSError as error:
            reason = str(error)
        time.sleep(0.2)
    raise CeleryOpsError(
        f"Node {name} does not answer over SSH",
        expected=f"an SSH server at {address}:22 within {timeout:.0f} s",
        found=reason,
        remedy="`podman logs` and `podman exec … systemctl status ssh` show the node's side; `ip route get` the host's",
    )
