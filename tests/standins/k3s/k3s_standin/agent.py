# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``k3s agent``: asks a server for its certificates until it gets them, then runs a node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .controlplane import API_PORT
from .node import Node
from .options import Options
from .processes import Children, Fatal, log, notify
from .relay import Balancer
from .release import Release
from .supervisor import JoinError, ask

__all__ = ["run_agent"]


def run_agent(options: Options, release: Release) -> None:
    """Serve until asked to end. Raises Fatal when a component ends."""
    programs = release.stage(options.data)
    children = Children(programs)
    children.obey_signals()
    node = Node(options, release, children, programs)
    known = options.data / "agent/etc/k3s-agent-load-balancer.json"
    try:
        answer, servers = _joined(options, node, children, known)
        node.take(answer["files"])
        port = int(options["lb-server-port"])
        balancer = Balancer(servers, API_PORT)
        balancer.serve(port)
        node.start(answer["config"], f"https://127.0.0.1:{port}")
        log("info", "k3s agent is up and running")
        notify("READY=1")
        while not children.stopping.wait(2):
            if gone := children.ended():
                raise Fatal(f"{gone} ended")
            node.tick()
            now = node.servers()
            if now and sorted(now) != sorted(balancer.servers):
                balancer.servers = now
                known.write_text(json.dumps(now))
    finally:
        children.stop()


def _joined(options: Options, node: Node, children: Children, known: Path) -> tuple[dict[str, Any], list[str]]:
    """The first answer of any server, and the addresses to balance over. As k3s does, it asks for ever."""
    token = options["token"] or Path(options["token-file"]).read_text().strip()
    first = options["server"].rstrip("/")
    port = urlsplit(first).port or 443
    before = json.loads(known.read_text()) if known.exists() else []
    while True:
        for url in [first, *(f"https://{each}:{port}" for each in before)]:
            try:
                answer = ask(url, token, "/v1-k3s/config", node.identity(), "node")
            except JoinError as error:
                log("error", f"Waiting to retrieve agent configuration; server is not ready: {_words(url, error)}")
                continue
            servers = list(dict.fromkeys([str(urlsplit(url).hostname), *before]))
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(json.dumps(servers))
            return answer, servers
        if children.stopping.wait(5):
            raise Fatal("interrupted")


def _words(url: str, error: JoinError) -> str:
    if str(error) == "not authorized":
        return "failed to retrieve configuration from server: not authorized"
    if "CA" in str(error):
        reason = str(error).removeprefix("failed to validate token: ")
        return f"Failed to validate connection to cluster at {url}: {reason}"
    return str(error)
