# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The port of the stand-in for k3s: what it answers itself, what it passes on and as whom, and who may join."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from helpers.servers import free_port
from standins.k3s.k3s_standin.https import Client, HttpError, context
from standins.k3s.k3s_standin.pki import Pki, Subject
from standins.k3s.k3s_standin.relay import Balancer, Listener
from standins.k3s.k3s_standin.supervisor import JoinError, Supervisor, ask
from standins.k3s.k3s_standin.tokens import Token, ca_hash


class Upstream(BaseHTTPRequestHandler):
    """In the API server's place: tells who asked, and keeps the Secrets it is given."""

    protocol_version = "HTTP/1.1"
    secrets: dict[str, Any]

    def do_GET(self) -> None:
        if self.path == "/version":
            return self._say(200, {"gitVersion": "v1.36.3", "major": "1", "minor": "36", "platform": "linux"})
        if "/secrets/" in self.path:
            found = self.secrets.get(self.path.rsplit("/", 1)[1])
            return self._say(200, found) if found else self._say(404, {})
        peer = self.connection.getpeercert() or {}  # type: ignore[attr-defined]
        return self._say(
            200, {"path": self.path, "subject": [pair for group in peer.get("subject", ()) for pair in group]}
        )

    def do_POST(self) -> None:
        import base64

        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        data = {key: base64.b64encode(value.encode()).decode() for key, value in said["stringData"].items()}
        self.secrets[said["metadata"]["name"]] = {"data": data}
        self._say(201, {})

    def _say(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


class Place:
    """A listener with its upstream, and the URL of both."""

    def __init__(self, folder: Path) -> None:
        self.pki = Pki(folder)
        self.pki.make_authorities()
        self.serving = self.pki.issue("serving", "server-ca", Subject("server"), ("127.0.0.1", "localhost"))
        self.upstream_port, port = self._upstream(), free_port()
        self.url = f"https://127.0.0.1:{port}"
        admin = self.pki.issue("admin", "client-ca", Subject("system:admin", ("system:masters",)))
        api = Client(f"https://127.0.0.1:{self.upstream_port}", context(self.pki.path("server-ca.crt"), admin))
        tokens = (Token("secret"), Token("for-agents"))
        config = {"version": "v1.99.0+k3s1", "cluster-dns": "10.43.0.10"}
        supervisor = Supervisor(self.pki, tokens, config, api, lambda: True, "127.0.0.1")
        Listener(self.pki, self.serving, supervisor, self.upstream_port).serve("127.0.0.1", port)

    def _upstream(self) -> int:
        handler = type("Handler", (Upstream,), {"secrets": {}})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*map(str, self.serving))
        tls.load_verify_locations(self.pki.path("client-ca.crt"))
        tls.verify_mode = ssl.CERT_OPTIONAL
        self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return int(self.server.server_port)

    def client(self, *, user: str = "") -> Client:
        certificate = self.pki.issue(f"client-{user}", "client-ca", Subject(user, ("some", "group"))) if user else None
        return Client(self.url, context(self.pki.path("server-ca.crt"), certificate))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("tls"))
    yield made
    made.server.shutdown()
    made.server.server_close()


NODE = {"name": "worker", "password": "node-password", "addresses": ["192.0.2.7"]}


def test_a_certificate_outlives_a_restart_but_not_its_names_or_its_authority(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.make_authorities()

    def made(*names: str) -> tuple[bytes, bytes]:
        certificate, key = pki.issue("serving", "server-ca", Subject("server"), names)
        return certificate.read_bytes(), key.read_bytes()

    first = made("127.0.0.1")
    assert made("127.0.0.1") == first
    second = made("127.0.0.1", "localhost")
    assert second != first
    assert made("127.0.0.1", "localhost") == second
    pki.path("server-ca.crt").unlink()
    pki.make_authorities()
    assert made("127.0.0.1", "localhost") != second


def test_k3s_own_paths_are_answered_without_credentials(place: Place) -> None:
    assert Client(place.url, context()).get("/cacerts") == place.pki.path("server-ca.crt").read_bytes()
    assert place.client().get("/ping") == b"pong"
    with pytest.raises(HttpError, match="401"):
        place.client().get("/v1-k3s/readyz")


def test_the_version_is_the_release_s_not_the_component_s(place: Place) -> None:
    # kubectl asks with its timeout.
    answer = place.client().json("GET", "/version?timeout=32s")
    assert answer == {"gitVersion": "v1.99.0+k3s1", "major": "1", "minor": "99", "platform": "linux"}


def test_a_client_reaches_the_api_server_as_itself(place: Place) -> None:
    assert place.client(user="somebody").json("GET", "/api") == {
        "path": "/api",
        "subject": [["organizationName", "some"], ["organizationName", "group"], ["commonName", "somebody"]],
    }
    assert place.client().json("GET", "/api")["subject"] == []


def test_a_certificate_of_another_authority_is_not_passed_on(place: Place) -> None:
    foreign = place.pki.issue("foreign", "etcd/peer-ca", Subject("system:admin", ("system:masters",)))
    client = Client(place.url, context(place.pki.path("server-ca.crt"), foreign))
    with pytest.raises(OSError):
        client.json("GET", "/api")


def test_a_node_gets_its_certificates_for_a_token_short_or_secure(place: Place) -> None:
    pem = place.pki.path("server-ca.crt").read_bytes()
    for token in ("secret", Token("secret").full(ca_hash(pem)), Token("for-agents").full(ca_hash(pem), "node")):
        answer = ask(place.url, token, "/v1-k3s/config", NODE, "node")
        assert answer["config"]["cluster-dns"] == "10.43.0.10"
        assert {"client-kubelet.crt", "client-kubelet.key", "server-ca.crt"} <= answer["files"].keys()


@pytest.mark.parametrize(
    ("token", "path", "body", "words"),
    [
        ("wrong", "/v1-k3s/config", NODE, "^not authorized$"),
        ("wrong", "/v1-k3s/server-bootstrap", None, "^not authorized$"),
        # An agent's token does not make a server.
        ("for-agents", "/v1-k3s/server-bootstrap", None, "^not authorized$"),
        (f"K10{'0' * 64}::server:secret", "/v1-k3s/config", NODE, "token CA hash does not match"),
        ("K10::server:", "/v1-k3s/config", NODE, "invalid token format"),
    ],
)
def test_a_wrong_token_is_refused_in_k3s_words(
    place: Place, token: str, path: str, body: dict[str, Any] | None, words: str
) -> None:
    with pytest.raises(JoinError, match=words):
        ask(place.url, token, path, body)


def test_a_node_of_the_same_name_with_another_password_is_rejected(place: Place) -> None:
    first = {**NODE, "name": "twice"}
    ask(place.url, "secret", "/v1-k3s/config", first)
    ask(place.url, "secret", "/v1-k3s/config", first)
    with pytest.raises(JoinError, match="Node password rejected, duplicate hostname"):
        ask(place.url, "secret", "/v1-k3s/config", {**first, "password": "another"})


def test_a_server_gets_the_authorities(place: Place, tmp_path: Path) -> None:
    answer = ask(place.url, "secret", "/v1-k3s/server-bootstrap")
    copy = Pki(tmp_path)
    copy.unpack(answer["bundle"])
    assert copy.bundle() == place.pki.bundle()


def test_the_balancer_goes_on_to_a_server_that_answers(place: Place) -> None:
    port = free_port()
    # 127.0.0.2 is this machine as well, and nothing listens there.
    balancer = Balancer(["127.0.0.2", "127.0.0.1"], place.upstream_port)
    balancer.serve(port)
    client = Client(f"https://127.0.0.1:{port}", context(place.pki.path("server-ca.crt")))
    assert client.json("GET", "/api")["path"] == "/api"
    assert balancer.servers == ["127.0.0.1", "127.0.0.2"]
