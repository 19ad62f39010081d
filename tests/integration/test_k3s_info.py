# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules k3s_info and k3s_nodes_info on a host without k3s, and the API client against a server that wants a
client's certificate."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.api import Api
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import Layout
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.wait import read_nodes

NODES = {"items": [{"metadata": {"name": "b"}}, {"metadata": {"name": "a"}}]}
LEASES = {"items": [{"metadata": {"name": "a"}, "spec": {"renewTime": "2026-01-02T03:04:05.5Z"}}]}
ANSWERS = {
    "/readyz": b"ok",
    "/api/v1/nodes": json.dumps(NODES).encode(),
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases": json.dumps(LEASES).encode(),
}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = ANSWERS.get(self.path)
        self.send_response(200 if body else 404)
        self.end_headers()
        self.wfile.write(body or b"")


def pair() -> tuple[bytes, bytes]:
    """A certificate that signs itself, for 127.0.0.1, and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)


def kubeconfig(path: Path, port: int, authority: bytes, certificate: bytes, key: bytes) -> Path:
    encoded = [base64.b64encode(part).decode() for part in (authority, certificate, key)]
    path.write_text(
        f"""apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {encoded[0]}
    server: https://127.0.0.1:{port}
  name: default
users:
- name: default
  user:
    client-certificate-data: {encoded[1]}
    client-key-data: {encoded[2]}
"""
    )
    return path


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, bytes, bytes]]:
    """A port, and the one certificate and key that server and client share."""
    certificate, key = pair()
    (tmp_path / "server.pem").write_bytes(key + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    context.load_verify_locations(cadata=certificate.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port, certificate, key
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_server_is_asked_as_its_administrator(tmp_path: Path, served: tuple[int, bytes, bytes]) -> None:
    port, certificate, key = served
    api = Api(kubeconfig(tmp_path / "k3s.yaml", port, certificate, certificate, key))
    assert api.get("/readyz") == (200, None)
    assert api.get("/api/v1/nodes") == (200, NODES)
    assert api.get("/nothing") == (404, None)
    nodes = read_nodes(Layout(config=tmp_path)) or []
    assert [node.name for node in nodes] == ["a", "b"]
    assert nodes[0].heard > nodes[1].heard == 0


def test_nobody_else_is_believed_or_answered(tmp_path: Path, served: tuple[int, bytes, bytes]) -> None:
    port, certificate, key = served
    other_certificate, other_key = pair()
    cases = [(other_certificate, certificate, key), (certificate, other_certificate, other_key)]
    for authority, mine, private in cases:
        assert Api(kubeconfig(tmp_path / "k3s.yaml", port, authority, mine, private)).get("/readyz") == (0, None)
    assert Api(tmp_path / "missing").get("/readyz") == (0, None)
    assert read_nodes(Layout(config=tmp_path / "missing")) is None


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("role", ["server", "agent"])
def test_a_host_without_k3s(role: str, check: bool) -> None:
    result = run_module("k3s_info", {"role": role}, check=check)
    assert not result["changed"]
    assert (result["initialised"], result["ca"], result["outdated"]) == (False, "", [])
    assert result["service"]["active"] is False
    assert result["health"] == {"ready": False, "version": "", "etcd": None}


def test_waiting_ends_and_says_what_is_missing() -> None:
    result = run_module("k3s_info", {"role": "agent", "wait": True, "timeout": 0})
    assert result["failed"]
    assert result["error"]["found"] == "the service k3s-agent is not active"
    assert result["hostname"]
    assert not run_module("k3s_info", {"role": "agent", "wait": True, "timeout": 0}, check=True).get("failed")


def test_nodes_without_a_server() -> None:
    asked = run_module("k3s_nodes_info", {})
    assert (asked["nodes"], asked["unmet"]) == ([], ["the API server does not answer"])
    failed = run_module("k3s_nodes_info", {"nodes": [{"name": "a"}], "timeout": 0})
    assert failed["failed"]
    assert failed["unmet"] == ["the API server does not answer"]


def test_bad_input() -> None:
    assert "role" in run_module("k3s_info", {"role": "master"})["msg"]
    assert "name" in run_module("k3s_nodes_info", {"nodes": [{"version": "v1"}]})["msg"]
