# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The components of a server: certificates, etcd, API server, controllers, scheduler."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .etcd import Etcd, Member
from .https import Client, HttpError, context
from .node import Node, kubeconfig
from .options import TABLE, Options
from .pki import Pki, Subject
from .processes import Children, Fatal, run, wait_until
from .release import Release
from .tokens import Token

__all__ = ["API_PORT", "ControlPlane", "cluster_config", "etcd_name"]

# Where the API server itself listens; k3s has it inside its own process, behind 6443.
API_PORT = 6444
_KUBERNETES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")


def cluster_config(options: Options, release: Release) -> dict[str, Any]:
    """What all nodes of a cluster have to agree on, and the version that speaks."""
    service = options["service-cidr"][0]
    dns = options["cluster-dns"] or [str(ipaddress.ip_network(service)[10])]
    return {
        **{name: options[name] for name in TABLE["critical"]},
        "cluster-dns": dns[0],
        "disable-kube-proxy": options["disable-kube-proxy"],
        "version": release.version,
    }


def etcd_name(folder: Path, node: str) -> str:
    """The name of the etcd member whose data is in `folder`, made once: ``<node>-<8 hex digits>``, as k3s has it."""
    file = folder / "name"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.write_text(f"{node}-{time.time_ns() & 0xFFFFFFFF:08x}")
    return file.read_text()


class ControlPlane:
    """One server's components below ``<data-dir>/server``."""

    def __init__(self, options: Options, config: Mapping[str, Any], node: Node, children: Children) -> None:
        self.options, self.config, self.node, self.children = options, config, node, children
        self.folder = options.data / "server"
        self.pki = Pki(self.folder / "tls")
        self.etcd_folder = self.folder / "db/etcd"
        self.advertised = options["advertise-address"] or node.address

    @property
    def peer(self) -> str:
        return f"https://{self.node.address}:2380"

    def issue(self) -> None:
        """Make the leaf certificates anew: they cost little, and what they name may have changed."""
        pki, local = self.pki, ("localhost", "127.0.0.1", self.node.address, self.node.name)
        service = str(ipaddress.ip_network(self.options["service-cidr"][0])[1])
        domain = f"kubernetes.default.svc.{self.config['cluster-domain']}"
        names = (*local, self.advertised, service, *_KUBERNETES, domain)
        external = (*self.options["tls-san"], *self.options["node-external-ip"])
        pki.issue("serving-kube-apiserver", "server-ca", Subject("kube-apiserver"), (*names, *external))
        pki.issue("client-admin", "client-ca", Subject("system:admin", ("system:masters",)))
        pki.issue("client-controller", "client-ca", Subject("system:kube-controller-manager"))
        pki.issue("client-scheduler", "client-ca", Subject("system:kube-scheduler"))
        pki.issue("client-kube-apiserver", "client-ca", Subject("kube-apiserver", ("system:masters",)))
        pki.issue("client-auth-proxy", "request-header-ca", Subject("system:auth-proxy"))
        pki.issue("etcd/server-client", "etcd/server-ca", Subject("etcd-server"), local)
        pki.issue("etcd/client", "etcd/server-ca", Subject("etcd-client"))
        pki.issue("etcd/peer-server-client", "etcd/peer-ca", Subject("etcd-peer"), local)

    def start_etcd(self, members: list[Member] | None = None, *extra: str) -> Etcd:
        """Start etcd: as it was, anew, or as the member that `members` ends with, and wait until it has a leader."""
        pki, name = self.pki, etcd_name(self.etcd_folder, self.node.name)
        others = [f"{each.name}={each.peer}" for each in members or [] if each.name]
        client = f"https://127.0.0.1:2379,https://{self.node.address}:2379"
        self.children.start(
            "etcd",
            f"--name={name}",
            f"--data-dir={self.etcd_folder}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls=https://{self.node.address}:2379",
            f"--listen-peer-urls={self.peer}",
            f"--initial-advertise-peer-urls={self.peer}",
            f"--initial-cluster={','.join([*others, f'{name}={self.peer}'])}",
            f"--initial-cluster-state={'existing' if members else 'new'}",
            "--client-cert-auth",
            f"--trusted-ca-file={pki.path('etcd/server-ca.crt')}",
            f"--cert-file={pki.path('etcd/server-client.crt')}",
            f"--key-file={pki.path('etcd/server-client.key')}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={pki.path('etcd/peer-ca.crt')}",
            f"--peer-cert-file={pki.path('etcd/peer-server-client.crt')}",
            f"--peer-key-file={pki.path('etcd/peer-server-client.key')}",
            # Where k3s has etcd's health asked without a certificate.
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--log-level=warn",
            *(f"--{each}" for each in self.options["etcd-arg"]),
            *extra,
        )
        etcd = Etcd(pki)
        wait_until(self.children, etcd.healthy, "etcd", 300)
        return etcd

    def reconcile(self, etcd: Etcd, token: Token) -> None:
        """See that the datastore belongs to this token; a new one is given the authorities."""
        stored = etcd.bootstrap()
        if token.key in stored:
            self.pki.unpack(stored[token.key])
        elif stored:
            raise Fatal(
                "Error: preparing server: failed to bootstrap cluster data: failed to reconcile with local datastore: "
                "bootstrap data already found and encrypted with different token"
            )
        else:
            etcd.store(token.key, self.pki.bundle())

    def start_api(self) -> Client:
        """Start the API server and wait until it is ready; returns a client with all rights."""
        pki, service = self.pki, self.options["service-cidr"]
        self.children.start(
            "kube-apiserver",
            f"--advertise-address={self.advertised}",
            "--bind-address=0.0.0.0",
            f"--secure-port={API_PORT}",
            "--allow-privileged=true",
            "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki.path('client-ca.crt')}",
            "--etcd-servers=https://127.0.0.1:2379",
            f"--etcd-cafile={pki.path('etcd/server-ca.crt')}",
            f"--etcd-certfile={pki.path('etcd/client.crt')}",
            f"--etcd-keyfile={pki.path('etcd/client.key')}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={pki.path('server-ca.crt')}",
            f"--kubelet-client-certificate={pki.path('client-kube-apiserver.crt')}",
            f"--kubelet-client-key={pki.path('client-kube-apiserver.key')}",
            f"--proxy-client-cert-file={pki.path('client-auth-proxy.crt')}",
            f"--proxy-client-key-file={pki.path('client-auth-proxy.key')}",
            f"--requestheader-client-ca-file={pki.path('request-header-ca.crt')}",
            "--requestheader-allowed-names=system:auth-proxy",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--service-account-issuer=https://kubernetes.default.svc.{self.config['cluster-domain']}",
            f"--service-account-key-file={pki.path('service.key')}",
            f"--service-account-signing-key-file={pki.path('service.key')}",
            f"--service-cluster-ip-range={','.join(service)}",
            f"--service-node-port-range={self.options['service-node-port-range']}",
            f"--tls-cert-file={pki.path('serving-kube-apiserver.crt')}",
            f"--tls-private-key-file={pki.path('serving-kube-apiserver.key')}",
            *(f"--{each}" for each in self.options["kube-apiserver-arg"]),
        )
        api = self.admin()
        wait_until(self.children, lambda: _ready(api), "kube-apiserver")
        return api

    def admin(self) -> Client:
        """The API server of this machine, as its administrator."""
        certificate = (self.pki.path("client-admin.crt"), self.pki.path("client-admin.key"))
        return Client(f"https://127.0.0.1:{API_PORT}", context(self.pki.path("server-ca.crt"), certificate), timeout=30)

    def start_controllers(self) -> None:
        pki, ca = self.pki, self.pki.path("server-ca.crt")
        # k3s on SQLite elects nobody; a leader that is late to renew, on a busy machine, would end with all of k3s.
        election = () if self.etcd_folder.name == "etcd" else ("--leader-elect=false",)
        for name in ("controller", "scheduler", "admin"):
            pair = (pki.path(f"client-{name}.crt"), pki.path(f"client-{name}.key"))
            kubeconfig(self.folder / f"cred/{name}.kubeconfig", f"https://127.0.0.1:{API_PORT}", ca, pair)
        self.children.start(
            "kube-controller-manager",
            f"--kubeconfig={self.folder}/cred/controller.kubeconfig",
            "--bind-address=127.0.0.1",
            "--allocate-node-cidrs=true",
            f"--cluster-cidr={','.join(self.options['cluster-cidr'])}",
            f"--service-cluster-ip-range={','.join(self.options['service-cidr'])}",
            "--use-service-account-credentials=true",
            f"--root-ca-file={ca}",
            f"--service-account-private-key-file={pki.path('service.key')}",
            f"--cluster-signing-cert-file={pki.path('client-ca.crt')}",
            f"--cluster-signing-key-file={pki.path('client-ca.key')}",
            *election,
            *(f"--{each}" for each in self.options["kube-controller-manager-arg"]),
        )
        if not self.options["disable-scheduler"]:
            self.children.start(
                "kube-scheduler",
                f"--kubeconfig={self.folder}/cred/scheduler.kubeconfig",
                "--bind-address=127.0.0.1",
                *election,
                *(f"--{each}" for each in self.options["kube-scheduler-arg"]),
            )

    def write_kubeconfig(self, kubectl: Path) -> None:
        """The administrator's kubeconfig with everything inside, under the name that k3s gives it."""
        target = Path(self.options["write-kubeconfig"])
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.folder / "cred/k3s.kubeconfig"
        base = [str(kubectl), f"--kubeconfig={scratch}", "config"]
        scratch.unlink(missing_ok=True)
        pki, port = self.pki, self.options["https-listen-port"]
        run([*base, "set-cluster", "default", f"--server=https://127.0.0.1:{port}", "--embed-certs=true",
             f"--certificate-authority={pki.path('server-ca.crt')}"])  # fmt: skip
        run([*base, "set-credentials", "default", "--embed-certs=true",
             f"--client-certificate={pki.path('client-admin.crt')}",
             f"--client-key={pki.path('client-admin.key')}"])  # fmt: skip
        run([*base, "set-context", "default", "--cluster=default", "--user=default"])
        run([*base, "use-context", "default"])
        content = scratch.read_text()
        scratch.unlink()
        if not target.exists():
            target.touch(0o600)
        target.write_text(content)
        target.chmod(int(self.options["write-kubeconfig-mode"], 8))
        if self.options["write-kubeconfig-group"]:
            run(["chgrp", self.options["write-kubeconfig-group"], str(target)])


def _ready(api: Client) -> bool:
    try:
        return api.get("/readyz") == b"ok"
    except (OSError, HttpError):
        return False
