# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real kube-apiserver with its etcd on loopback: no kubelet, no controllers, no scheduler."""

from __future__ import annotations

import datetime
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

__all__ = ["ApiServer", "find_binary", "running_api_server"]

_STARTUP_SECONDS = 60
# Which artifact of the cache holds which binary.
_ARTIFACT = {"kube-apiserver": "kubernetes", "kubectl": "kubernetes", "etcd": "etcd-server"}


def find_binary(name: str) -> Path:
    """The newest build in the cache of artifacts, or in the folder CELERYOPS_BIN_DIR."""
    if folder := os.environ.get("CELERYOPS_BIN_DIR"):
        candidates = [Path(folder, name)]
    else:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "celeryops/artifacts")
        candidates = list((cache / _ARTIFACT[name]).glob(f"*/{name}"))
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise FileNotFoundError(f"{name} is not built yet: run `make artifacts`, or set CELERYOPS_BIN_DIR")
    return max(found, key=lambda path: path.stat().st_mtime)


@dataclass
class ApiServer:
    """A running server: its kubeconfig (a cluster administrator's), and how to stop and start it.

    `folder` also holds client.crt and client.key, the certificate of a second administrator, and with `audit` the
    requests as audit.log, an Event per line at level Metadata.
    """

    folder: Path
    port: int
    kubeconfig: Path
    token: str
    etcd: str
    audit: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [
            str(find_binary("kube-apiserver")),
            f"--etcd-servers={self.etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={self.folder}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.folder}/sa.key",
            f"--service-account-signing-key-file={self.folder}/sa.key",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.folder}/tokens.csv",
            f"--client-ca-file={self.folder}/client.crt",
            "--endpoint-reconciler-type=none",
            # The default of five seconds is what makes a stop slow.
            "--shutdown-delay-duration=0s",
        ]
        if self.audit:
            command += [f"--audit-policy-file={self.folder}/audit.json", f"--audit-log-path={self.folder}/audit.log"]
        with (self.folder / "apiserver.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        _wait_for(self.process, f"{self.url}/readyz", self.folder / "apiserver.log", self.token)

    def stop(self, *, kill: bool = False) -> None:
        if self.process is not None:
            (self.process.kill if kill else self.process.terminate)()
            self.process.wait()
            self.process = None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], url: str, log: Path, token: str = "") -> None:
    # The certificate is made by the server itself at its first start, after this question was first asked.
    context = ssl._create_unverified_context()  # noqa: S323
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + _STARTUP_SECONDS
    while True:
        try:
            with opener.open(request, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
                raise RuntimeError(f"{url} does not answer:\n{tail}") from None
        time.sleep(0.05)


@contextmanager
def _etcd(folder: Path) -> Iterator[str]:
    client, peer = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
    command = [
        str(find_binary("etcd")),
        f"--data-dir={folder}/etcd",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # Nothing here has to survive a power cut.
        "--unsafe-no-fsync",
    ]
    with (folder / "etcd.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait_for(process, f"{client}/health", folder / "etcd.log")
        yield client
    finally:
        process.terminate()
        process.wait()


def _make_client_certificate(folder: Path) -> None:
    """A certificate that signed itself is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "certified"),
        ]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "client.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "client.key").write_bytes(pem)


@contextmanager
def running_api_server(folder: Path, *, audit: bool = False) -> Iterator[ApiServer]:
    """Starts both processes below an empty folder and ends them by their ids."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    (folder / "sa.key").write_bytes(pem)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n', encoding="ascii")
    _make_client_certificate(folder)
    policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"]}
    (folder / "audit.json").write_text(json.dumps({**policy, "rules": [{"level": "Metadata"}]}), encoding="ascii")
    with ExitStack() as stack:
        etcd = stack.enter_context(_etcd(folder))
        server = ApiServer(folder, _free_port(), folder / "kubeconfig", token, etcd, audit)
        # Killed: it would wait a minute for watches that tests have left open.
        stack.callback(server.stop, kill=True)
        server.start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [
                {
                    "name": "test",
                    "cluster": {"server": server.url, "certificate-authority": f"{folder}/apiserver.crt"},
                }
            ],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        server.kubeconfig.write_text(json.dumps(config), encoding="ascii")
        yield server
