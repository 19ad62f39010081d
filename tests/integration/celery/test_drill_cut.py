# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node is taken off its network and comes back in any case: here a network namespace of the test's own."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from helpers.servers import wait_until

from ansible_collections.celeryops.platform.plugins.module_utils._drill import cut

# Where nobody may make a network namespace, nobody may cut a node off either.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces are root's")

NODE, OTHER = "10.99.0.1", "10.99.0.2"
ECHO = f"""
import socket
server = socket.create_server(("{OTHER}", 7000))
print("listens", flush=True)
while True:
    client, _address = server.accept()
    client.sendall(client.recv(100))
"""
ASK = f"""
import socket, sys
try:
    client = socket.create_connection(("{OTHER}", 7000), timeout=1)
    client.sendall(b"word")
    client.settimeout(1)
    sys.exit(client.recv(100) != b"word")
except OSError:
    sys.exit(1)
"""


@dataclass
class Node:
    """The node's network, in which this process holds the place open."""

    pid: int

    def run(self, *command: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        words = ["nsenter", "--net", f"--target={self.pid}", *command]
        return subprocess.run(words, input=stdin, capture_output=True, text=True, check=False, timeout=60)

    def start(self, seconds: float) -> subprocess.Popen[str]:
        options = {"addresses": [NODE], "seconds": seconds, "stay": 1}
        text = f"{inspect.getsource(cut)}\nmain(json.loads({json.dumps(options)!r}))\n"
        words = ["nsenter", "--net", f"--target={self.pid}", sys.executable, "-I", "-c", text]
        return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)

    def reaches_the_other(self) -> bool:
        return self.run(sys.executable, "-I", "-c", ASK).returncode == 0

    def cut_off(self) -> bool:
        return not self.reaches_the_other()


@pytest.fixture
def node() -> Iterator[Node]:
    """Two network namespaces with a cable between them; somebody answers in the other one."""
    held = [subprocess.Popen(["unshare", "--net", "sleep", "600"]) for _number in range(2)]
    ours = Path("/proc/self/ns/net").readlink()
    here, there = (Node(one.pid) for one in held)
    try:
        for one in held:
            wait_until(lambda one=one: Path(f"/proc/{one.pid}/ns/net").readlink() != ours, "a network namespace")
        made = ["ip", "link", "add", "a0", "type", "veth", "peer", "name", "b0", "netns", str(there.pid)]
        assert here.run(*made).returncode == 0
        for which, device, address in ((here, "a0", NODE), (there, "b0", OTHER)):
            for words in (f"address add {address}/24 dev {device}", f"link set {device} up", "link set lo up"):
                assert which.run("ip", *words.split()).returncode == 0
        words = ["nsenter", "--net", f"--target={there.pid}", sys.executable, "-I", "-c", ECHO]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as echo:
            assert echo.stdout
            assert echo.stdout.readline() == "listens\n"
            wait_until(here.reaches_the_other, "an answer")
            yield here
            echo.kill()
    finally:
        for one in held:
            one.kill()
            one.wait()


@pytest.mark.slow
def test_a_node_is_cut_off_for_so_long_and_no_longer(node: Node) -> None:
    rules = node.run("ip", "route").stdout
    cutting = node.start(6)
    wait_until(node.cut_off, "the cut")
    # Its own services go on: they talk over the loopback.
    assert node.run("ip", "route").stdout == rules
    output, _nothing = cutting.communicate(timeout=60)
    assert cutting.returncode == -signal.SIGALRM
    told = json.loads(output)
    assert told["devices"] == ["a0"]
    assert 5 < told["ended"] - told["at"] < 30
    assert node.reaches_the_other()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_cut_ends_with_its_process_however_that_ends(node: Node, end: signal.Signals) -> None:
    cutting = node.start(300)
    wait_until(node.cut_off, "the cut")
    cutting.send_signal(end)
    assert cutting.wait(timeout=30) == -end
    wait_until(node.reaches_the_other, "the end of the cut")


def test_nothing_is_cut_where_the_node_is_not() -> None:
    options = {"addresses": ["192.0.2.1"], "seconds": 60}
    text = f"{inspect.getsource(cut)}\nmain(json.loads({json.dumps(options)!r}))\n"
    words = [sys.executable, "-I", "-c", text]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "none of ['192.0.2.1'] is an address of this network's devices" in done.stderr
