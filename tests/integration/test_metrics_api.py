# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether there is a metrics API, asked of a real API server; and which kubelet's certificate is to be trusted."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module
from helpers.plays import play
from helpers.servers import free_port

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._node import serving

NOTHING = {"changed": False, "registered": False, "ours": False}


def registration(**labels: str) -> Json:
    """Of a Service that does not exist."""
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io", "labels": labels},
        "spec": {
            "group": "metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "metrics", "namespace": "kube-system"},
        },
    }


@pytest.fixture
def register(api: Api) -> Iterator[Callable[..., Json]]:
    with contextlib.ExitStack() as stack:

        def make(**labels: str) -> Json:
            made = api.create(registration(**labels))
            stack.callback(api.delete, ObjectRef.of(made))
            return made

        yield make


@pytest.mark.parametrize("check", [True, False])
def test_a_cluster_without_one(kube_module: Any, api: Api, check: bool) -> None:
    result = kube_module("metrics_api_info", {}, check=check)
    assert {name: result[name] for name in NOTHING} == NOTHING
    assert result["problem"] == "the cluster serves no metrics API"


@pytest.mark.parametrize(("labels", "ours"), [({}, False), ({"app.kubernetes.io/managed-by": "celeryops"}, True)])
def test_one_that_does_not_answer(kube_module: Any, register: Any, labels: dict[str, str], ours: bool) -> None:
    register(**labels)
    result = kube_module("metrics_api_info", {"retry_timeout": 1})
    assert (result["registered"], result["ours"]) == (True, ours)
    assert "does not answer" in result["problem"]


def test_without_a_cluster(tmp_path: Path) -> None:
    args = {"kubeconfig": str(tmp_path / "kubeconfig")}
    planned = run_module("metrics_api_info", args, check=True)
    assert {name: planned[name] for name in NOTHING} == NOTHING
    assert planned["problem"]
    assert run_module("metrics_api_info", args)["failed"] is True


def run_role(folder: Path, api_server: Any, *options: str) -> str:
    """What a run of role metrics_server printed; nothing is waited for, as this server has no controllers."""
    role = {"ansible.builtin.import_role": {"name": "celeryops.platform.metrics_server"}}
    given = {"artifacts_images": {"metrics-server": "localhost/metrics-server:1"}, "metrics_server_wait": False}
    defaults = {"kubeconfig": str(api_server.kubeconfig), "retry_timeout": 1}
    with play(folder, [role], *options, defaults=defaults, vars=given) as run:
        run.end()
        printed = "\n".join(run.output)
        assert run.process.returncode == 0, printed
    return printed


@pytest.mark.slow
def test_the_role_serves_it_where_nobody_does(tmp_path: Path, api_server: Any, api: Api) -> None:
    """Check, apply, check, apply; every object is one that a real API server takes."""
    ref = ObjectRef("apps/v1", "Deployment", "metrics-server", "kube-system")
    api.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "kube-system"}},
        field_manager="test",
    )
    try:
        changed = []
        for options in (["--check"], [], ["--check"], []):
            printed = run_role(tmp_path, api_server, *options)
            # The play notes its results in a file as well.
            changed.append("changed: [localhost]" in printed.partition("TASK [ansible.builtin.copy]")[0])
        assert changed == [True, True, False, False]
        made = api.get(ref)
        assert made is not None
        args = made["spec"]["template"]["spec"]["containers"][0]["args"]
        assert "--kubelet-insecure-tls" not in args
        assert "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt" in args
    finally:
        for obj in (ref, ObjectRef("apiregistration.k8s.io/v1", "APIService", "v1beta1.metrics.k8s.io", None)):
            api.delete(obj)


def test_the_role_leaves_one_of_others_as_it_is(tmp_path: Path, api_server: Any, api: Api, register: Any) -> None:
    register(by="others")
    assert "skipping: [localhost]" in run_role(tmp_path, api_server)
    assert api.get(ObjectRef("apps/v1", "Deployment", "metrics-server", "kube-system")) is None


def openssl(*arguments: object, given: str = "") -> str:
    done = subprocess.run(["openssl", *map(str, arguments)], input=given, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A folder with ca.crt and ca.key."""
    subject = ("-subj", "/CN=kubernetes", "-addext", "keyUsage=critical,keyCertSign")
    out = ("-keyout", tmp_path / "ca.key", "-out", tmp_path / "ca.crt")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", *subject, *out)
    return tmp_path


def certificate(authority: Path, address: str = "127.0.0.1", days: int = 365) -> Path:
    """A key and a certificate in one file, as role kubeadm has it signed."""
    key, names = authority / "kubelet.key", authority / "names"
    names.write_text(f"extendedKeyUsage=serverAuth\nsubjectAltName=DNS:worker-1,IP:{address}\n")
    request = openssl(
        "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=system:node:worker-1"
    )
    by = ("-CA", authority / "ca.crt", "-CAkey", authority / "ca.key", "-set_serial", "0x1234")
    signed = openssl("x509", "-req", "-days", days, *by, "-in", "/dev/stdin", "-extfile", names, given=request)
    both = authority / "kubelet.pem"
    both.write_text(signed + key.read_text())
    return both


@contextlib.contextmanager
def kubelet(pem: Path) -> Iterator[int]:
    """Something that shows this certificate, on a port of loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                plain, _address = listener.accept()
                with context.wrap_socket(plain, server_side=True) as tls:
                    tls.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_a_certificate_of_the_cluster_is_trusted(authority: Path) -> None:
    with kubelet(certificate(authority)) as port:
        assert serving.problem("127.0.0.1", port, authority / "ca.crt") == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [({"address": "127.0.0.2"}, "IP address mismatch"), ({"days": 59}, "its serving certificate ends on")],
)
def test_one_of_another_address_or_near_its_end_is_to_be_signed_anew(
    authority: Path, change: dict[str, Any], told: str
) -> None:
    with kubelet(certificate(authority, **change)) as port:
        assert told in serving.problem("127.0.0.1", port, authority / "ca.crt")


def test_what_a_kubelet_signed_itself_is_not_trusted(authority: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    made = ("-subj", "/CN=worker-1", "-addext", "subjectAltName=IP:127.0.0.1")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", *made, "-keyout", own / "key", "-out", own / "crt")
    pem = own / "pem"
    pem.write_text((own / "crt").read_text() + (own / "key").read_text())
    with kubelet(pem) as port:
        assert "is not to be trusted" in serving.problem("127.0.0.1", port, authority / "ca.crt")


def test_nobody_answers_or_nobody_could_sign(authority: Path, tmp_path: Path) -> None:
    port = free_port()
    assert f"nobody answers at port {port}" in serving.problem("127.0.0.1", port, authority / "ca.crt")
    assert serving.problem("127.0.0.1", port, tmp_path / "absent") == ""
    assert serving.problem("", port, authority / "ca.crt") == ""
