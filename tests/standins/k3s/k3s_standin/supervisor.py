# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server answers for itself on 6443, and what a joining node asks there."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .https import Client, HttpError, basic, context
from .pki import Pki, Subject
from .relay import Answer, Request
from .tokens import Token, TokenError, parse_token

__all__ = ["JoinError", "NodeIdentity", "Supervisor", "ask", "fetch_ca"]

NODE_REJECTED = (
    "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server "
    "node-passwd entry, try enabling a unique node name with the --with-node-id flag"
)
_SECRETS = "/api/v1/namespaces/kube-system/secrets"


class JoinError(Exception):
    """Why a server does not take this node, in k3s's words."""


@dataclass(frozen=True)
class NodeIdentity:
    """What a node says of itself when it asks for its certificates."""

    name: str
    password: str
    addresses: tuple[str, ...]


class Supervisor:
    """The handler of a server's port. `config` is what joining nodes learn; `ready` tells whether the API serves.

    `address`: where the member of etcd of this server is, for who asked by an address in front of several servers.
    """

    def __init__(
        self,
        pki: Pki,
        tokens: tuple[Token, Token],
        config: Mapping[str, Any],
        api: Client,
        ready: Callable[[], bool],
        address: str,
    ) -> None:
        self._pki, self._config, self._api, self._ready, self._address = pki, config, api, ready, address
        self._server_token, self._agent_token = tokens

    def __call__(self, request: Request) -> Answer | None:
        try:
            return self._answer(request)
        except (OSError, HttpError) as error:
            return Answer(503, str(error).encode())

    def _answer(self, request: Request) -> Answer | None:
        if not request.path.startswith("/v1-k3s/"):
            public = {"/cacerts": self._cacerts, "/ping": lambda: Answer(200, b"pong"), "/version": self._version}
            return public[request.path]() if request.path in public else None
        server = request.path == "/v1-k3s/server-bootstrap"
        if not self._authorized(request.headers.get("authorization", ""), server=server):
            return Answer(401, b"Unauthorized")
        if server:
            return _json({"bundle": self._pki.bundle(), "config": dict(self._config), "address": self._address})
        if not self._ready():
            return Answer(503, b"runtime core not ready")
        if request.path == "/v1-k3s/config" and request.method == "POST":
            said = json.loads(request.body)
            return self._node(NodeIdentity(said["name"], said["password"], tuple(said["addresses"])))
        return Answer(200, b"ok") if request.path == "/v1-k3s/readyz" else Answer(404, b"404 page not found")

    def _cacerts(self) -> Answer:
        return Answer(200, self._pki.path("server-ca.crt").read_bytes())

    def _version(self) -> Answer | None:
        """The API server's own answer with this release's version: the component behind it was built once."""
        if not self._ready():
            return None
        answer = self._api.json("GET", "/version")
        major, minor = str(self._config["version"]).lstrip("v").split(".")[:2]
        return _json({**answer, "gitVersion": self._config["version"], "major": major, "minor": minor})

    def _authorized(self, header: str, *, server: bool) -> bool:
        try:
            user, _, password = base64.b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if self._server_token.allows(user, password, ("server",) if server else ("server", "node")):
            return True
        return not server and self._agent_token.allows(user, password, ("server", "node"))

    def _node(self, node: NodeIdentity) -> Answer:
        if not self._known(node):
            return Answer(403, NODE_REJECTED.encode())
        kubelet = Subject(f"system:node:{node.name}", ("system:nodes",))
        issued = {
            "client-kubelet": self._pki.issue(f"nodes/{node.name}/client-kubelet", "client-ca", kubelet),
            "serving-kubelet": self._pki.issue(
                f"nodes/{node.name}/serving-kubelet", "server-ca", Subject(node.name), (node.name, *node.addresses)
            ),
            "client-kube-proxy": self._pki.issue(
                f"nodes/{node.name}/client-kube-proxy", "client-ca", Subject("system:kube-proxy")
            ),
        }
        files = {f"{stem}.{path.suffix[1:]}": path.read_text() for stem, pair in issued.items() for path in pair}
        for stem in ("client-ca", "server-ca"):
            files[f"{stem}.crt"] = self._pki.path(f"{stem}.crt").read_text()
        return _json({"files": files, "config": dict(self._config)})

    def _known(self, node: NodeIdentity) -> bool:
        """Whether the node's password is the one it first came with; the first one is noted, as k3s does."""
        digest = hashlib.sha256(f"{node.name}:{node.password}".encode()).hexdigest()
        name = f"{node.name}.node-password.k3s"
        try:
            found = self._api.json("GET", f"{_SECRETS}/{name}")
        except HttpError as error:
            if error.status != 404:
                raise
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": {"hash": digest}}
            self._api.json("POST", _SECRETS, {**secret, "immutable": True})
            return True
        return hmac.compare_digest(base64.b64decode(found["data"]["hash"]), digest.encode())


def fetch_ca(url: str) -> str:
    """The CA of the cluster behind `url`, from a server that nobody has vouched for yet."""
    try:
        return Client(url, context()).get("/cacerts").decode()
    except (OSError, HttpError) as error:
        raise JoinError(f'failed to get CA certs: Get "{url}/cacerts": {error}') from error


def ask(url: str, text: str, path: str, body: Mapping[str, Any] | None = None, user: str = "server") -> Any:
    """What a server answers to the holder of a token. The token is sent only once the CA matches it."""
    try:
        token: Token = parse_token(text)
        ca = fetch_ca(url)
        token.check_ca(ca.encode())
    except TokenError as error:
        raise JoinError(f"failed to validate token: {error}") from error
    client = Client(url, context(pem=ca), timeout=30)
    authorization = basic(token.user or user, token.password)
    try:
        return client.json("POST" if body else "GET", path, body, Authorization=authorization)
    except HttpError as error:
        if error.status == 401:
            raise JoinError("not authorized") from error
        raise JoinError(error.text if error.status == 403 else str(error)) from error
    except OSError as error:
        raise JoinError(f'Get "{url}{path}": {error}') from error


def _json(content: Any) -> Answer:
    return Answer(200, json.dumps(content).encode(), "application/json")
