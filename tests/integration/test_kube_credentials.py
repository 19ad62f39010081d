# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of credential that a kubeconfig can name, against a real API server that says who came."""

from __future__ import annotations

import base64
import json
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.apiserver import ApiServer
from helpers.modules import ROOT

from ansible_collections.celeryops.platform.plugins.module_utils._kube import kubeconfig as kubeconfig_of_pods
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, KubeError, connect

Json = dict[str, Any]


def encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


class Config:
    """The server's own kubeconfig, to be changed and written beside the test."""

    def __init__(self, server: ApiServer, folder: Path) -> None:
        self.path = folder / "config"
        self.content: Json = json.loads(server.kubeconfig.read_text(encoding="ascii"))

    @property
    def cluster(self) -> Json:
        return self.content["clusters"][0]["cluster"]

    def user(self, **user: Any) -> None:
        self.content["users"][0]["user"] = user

    def api(self, **options: Any) -> Api:
        self.path.write_text(json.dumps(self.content), encoding="ascii")
        return connect({"kubeconfig": str(self.path), "retry_timeout": 0, **options})

    def who(self, **options: Any) -> str:
        return whoami(self.api(**options))


def whoami(api: Api) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
    return str(answer["status"]["userInfo"]["username"])


@pytest.fixture
def config(api_server: ApiServer, tmp_path: Path) -> Config:
    return Config(api_server, tmp_path)


@pytest.fixture
def robot(api: Api, namespace: str) -> str:
    """A token of a service account, which is a JWT."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    return str(api.request("POST", path, body=request)["status"]["token"])


# Users


def test_tokens(config: Config, api_server: ApiServer, robot: str, namespace: str, tmp_path: Path) -> None:
    config.user(token=robot)
    assert config.who() == f"system:serviceaccount:{namespace}:default"
    # A file has a newline, its path starts from the kubeconfig's folder, and it may be replaced.
    token = tmp_path / "token"
    token.write_text(robot + "\n", encoding="ascii")
    config.user(tokenFile="token", token="not this one")  # noqa: S106
    api = config.api()
    assert whoami(api) == f"system:serviceaccount:{namespace}:default"
    token.write_text(api_server.token, encoding="ascii")
    assert whoami(api) == "admin"
    token.unlink()
    with pytest.raises(KubeError, match=r"token for https://.* cannot be read"):
        whoami(api)


def test_client_certificates(config: Config, api_server: ApiServer, tmp_path: Path) -> None:
    certificate, key = api_server.folder / "client.crt", api_server.folder / "client.key"
    config.user(**{"client-certificate": str(certificate), "client-key": str(key)})
    assert config.who() == "certified"
    config.user(**{"client-certificate-data": encoded(certificate), "client-key-data": encoded(key)})
    assert config.who() == "certified"
    config.user(**{"client-certificate-data": encoded(certificate), "client-key-data": encoded(certificate)})
    with pytest.raises(KubeError, match=r"certificates for https://.* cannot be used"):
        config.api()
    config.user(**{"client-certificate": "gone.crt", "client-key": str(key)})
    with pytest.raises(KubeError, match="makes no sense") as caught:
        config.api()
    assert caught.value.found == f"no file {tmp_path / 'gone.crt'}"
    assert not [path for path in tmp_path.iterdir() if path != config.path]


def test_a_user_who_says_nothing_is_anonymous(config: Config) -> None:
    config.user()
    with pytest.raises(KubeError, match="system:anonymous"):
        config.who()
    config.user(username="nobody", password="")
    with pytest.raises(KubeError, match="system:anonymous"):
        config.who()


PLUGIN = """#!/bin/sh
cat <<'END'
{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": %s}
END
"""


def plugin(folder: Path, status: Json) -> Json:
    path = folder / "plugin"
    path.write_text(PLUGIN % json.dumps(status), encoding="ascii")
    path.chmod(0o700)
    return {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "interactiveMode": "Never"}


def test_programs_that_make_credentials(config: Config, api_server: ApiServer, robot: str, tmp_path: Path) -> None:
    config.user(exec=plugin(tmp_path, {"token": robot}))
    assert config.who().startswith("system:serviceaccount:")
    pair = {
        "clientCertificateData": (api_server.folder / "client.crt").read_text(encoding="ascii"),
        "clientKeyData": (api_server.folder / "client.key").read_text(encoding="ascii"),
    }
    config.user(exec=plugin(tmp_path, pair))
    assert config.who() == "certified"
    config.user(exec=plugin(tmp_path, {}))
    with pytest.raises(KubeError, match="no credentials for context test") as caught:
        config.who()
    assert "run the program by hand" in str(caught.value.remedy)
    # A token of one's own comes first.
    config.user(exec=plugin(tmp_path, {}), token=api_server.token)
    assert config.who() == "admin"


def test_tokens_of_an_identity_provider(config: Config, robot: str) -> None:
    provider = {"idp-issuer-url": "https://127.0.0.1:1", "client-id": "x", "id-token": robot, "refresh-token": "x"}
    config.user(**{"auth-provider": {"name": "oidc", "config": provider}})
    assert config.who().startswith("system:serviceaccount:")


def test_nobody_acts_as_himself_who_asked_to_be_another(config: Config, api_server: ApiServer) -> None:
    config.user(**{"token": api_server.token, "as": "somebody"})
    with pytest.raises(KubeError, match="makes no sense") as caught:
        config.api()
    assert caught.value.found == "`as` of user test"


def test_the_service_account_of_a_pod(
    api_server: ApiServer, robot: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kubeconfig_of_pods, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(api_server.port))
    with pytest.raises(KubeError, match="credentials cannot be read") as caught:
        connect({})
    assert caught.value.found == f"no {tmp_path / 'token'}"
    (tmp_path / "token").write_text(robot, encoding="ascii")
    (tmp_path / "ca.crt").write_bytes((api_server.folder / "apiserver.crt").read_bytes())
    assert whoami(connect({})).startswith("system:serviceaccount:")
    # A kubeconfig in its usual place comes first.
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_bytes(api_server.kubeconfig.read_bytes())
    assert whoami(connect({})) == "admin"


# Clusters


def test_trust(config: Config, api_server: ApiServer) -> None:
    authority = api_server.folder / "apiserver.crt"
    del config.cluster["certificate-authority"]
    with pytest.raises(KubeError, match="CERTIFICATE_VERIFY_FAILED"):
        config.who()
    config.cluster["insecure-skip-tls-verify"] = True
    with pytest.warns(match="Unverified HTTPS request"):
        assert config.who() == "admin"
    config.cluster["insecure-skip-tls-verify"] = False
    config.cluster["certificate-authority-data"] = encoded(authority)
    assert config.who() == "admin"
    config.cluster["certificate-authority-data"] = "no base64"
    with pytest.raises(KubeError, match="makes no sense"):
        config.api()
    config.cluster["certificate-authority-data"] = base64.b64encode(b"no certificate").decode()
    with pytest.raises(KubeError, match=r"certificates for https://.* cannot be used"):
        config.api()


def test_the_name_of_the_server(config: Config) -> None:
    config.cluster["tls-server-name"] = "kubernetes.default.svc"
    assert config.who() == "admin"
    config.cluster["tls-server-name"] = "elsewhere.example.com"
    with pytest.raises(KubeError, match=r"elsewhere\.example\.com"):
        config.who()


class Proxy:
    """An HTTP proxy that knows CONNECT only, as one for TLS needs no more. `asked` are the requests it got."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.getsockname()[1]}"
        self.asked: list[str] = []

    def serve(self) -> None:
        while True:
            try:
                client, _address = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += client.recv(4096)
        method, target = request.split(b" ")[:2]
        self.asked.append(f"{method.decode()} {target.decode()}")
        host, _, port = target.decode().rpartition(":")
        with client, socket.create_connection((host, int(port))) as server:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            while True:
                for one in select.select([client, server], [], [])[0]:
                    data = one.recv(65536)
                    if not data:
                        return
                    (server if one is client else client).sendall(data)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        made = Proxy(server)
        thread = threading.Thread(target=made.serve)
        thread.start()
        yield made
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_proxies(config: Config, api_server: ApiServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    through = [f"CONNECT 127.0.0.1:{api_server.port}"]
    assert (config.who(), proxy.asked) == ("admin", [])
    config.cluster["proxy-url"] = proxy.url
    assert (config.who(), proxy.asked) == ("admin", through)
    del config.cluster["proxy-url"]
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    assert (config.who(), proxy.asked) == ("admin", through * 2)
    monkeypatch.setenv("NO_PROXY", "example.com")
    assert (config.who(), proxy.asked) == ("admin", through * 3)
    monkeypatch.setenv("NO_PROXY", "example.com,127.0.0.0/8")
    assert (config.who(), proxy.asked) == ("admin", through * 3)
    config.cluster["proxy-url"] = "socks5://127.0.0.1:1"
    with pytest.raises(KubeError, match="proxy on the way to the API server cannot be used"):
        config.api()


# Files


def test_several_files_of_which_the_first_decides(
    config: Config, api_server: ApiServer, robot: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    context = {"name": "second", "context": {"cluster": "test", "user": "robot"}}
    second: Json = {"contexts": [context], "current-context": "second"}
    second["users"] = [{"name": "robot", "user": {"tokenFile": "token"}}, {"name": "test", "user": {"token": "wrong"}}]
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "token").write_text(robot, encoding="ascii")
    (folder / "config").write_text(json.dumps(second), encoding="ascii")
    config.api()
    monkeypatch.setenv("KUBECONFIG", f"/nonexistent:{config.path}:{folder / 'config'}")
    assert whoami(connect({})) == "admin"
    assert whoami(connect({"context": "second"})).startswith("system:serviceaccount:")


def test_connecting_imports_no_library_that_plain_credentials_do_not_need(config: Config) -> None:
    config.api()
    program = """
import sys
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
connect({"kubeconfig": sys.argv[1]}).find_resource("v1", "Pod")
print(sorted({"kubernetes", "requests", "websocket", "oauthlib"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(config.path)],
        env={"PYTHONPATH": str(ROOT / "collections"), "HOME": str(config.path.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
