# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on servers and agents alike: containerd, kubelet, kube-proxy, and the pods' network."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .containerd import SOCKET, Containerd
from .https import Client, HttpError, context
from .options import Options
from .processes import Children, log, run
from .release import Release

__all__ = ["VERSION_ANNOTATION", "Node", "host_address", "kubeconfig"]

# Tells which release runs on a node; an admission policy writes it over the kubelet's own version in the Node's status.
VERSION_ANNOTATION = "k3s-standin/version"
_PASSWORD = Path("/etc/rancher/node/password")
_SYSCTLS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/forwarding": "1",
    "net/bridge/bridge-nf-call-iptables": "1",
}


def host_address() -> str:
    """The address that packets leave with; on a network without a default route that of the first interface."""
    found = json.loads(run(["ip", "-json", "-4", "address", "show", "scope", "global"]))
    return str(found[0]["addr_info"][0]["local"])


def kubeconfig(path: Path, server: str, ca: Path, certificate: tuple[Path, Path], mode: int = 0o600) -> None:
    """Write a kubeconfig that refers to files of this node."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": {"server": server, "certificate-authority": str(ca)}}],
        "contexts": [{"name": "Default", "context": {"cluster": "local", "namespace": "default", "user": "user"}}],
        "current-context": "Default",
        "users": [
            {"name": "user", "user": {"client-certificate": str(certificate[0]), "client-key": str(certificate[1])}}
        ],
    }
    path.touch(mode)
    path.write_text(json.dumps(content))


class Node:
    """One machine's node of the cluster."""

    def __init__(self, options: Options, release: Release, children: Children, programs: Path) -> None:
        self._options, self._release, self._children, self._programs = options, release, children, programs
        self.name = options["node-name"] or socket.gethostname().lower()
        self.address = (options["node-ip"] or [host_address()])[0]
        self._agent = options.data / "agent"
        self._routes: dict[str, str] = {}
        self._announced = False
        self._containerd = Containerd(options.data, release, programs, options["pause-image"])

    def identity(self) -> dict[str, Any]:
        """What the node says of itself to a server. Its password is made once and outlives an uninstallation."""
        if not _PASSWORD.exists():
            _PASSWORD.parent.mkdir(parents=True, exist_ok=True)
            _PASSWORD.touch(0o600)
            _PASSWORD.write_text(secrets.token_hex(16))
        external = self._options["node-external-ip"]
        return {
            "name": self.name,
            "password": _PASSWORD.read_text(),
            "addresses": [self.address, "127.0.0.1", *external],
        }

    def take(self, files: Mapping[str, str]) -> None:
        """Put certificates from a server in their places."""
        self._agent.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            path = self._agent / name
            path.touch(0o600)
            path.write_text(content)

    def start(self, config: Mapping[str, Any], server: str) -> None:
        """Start everything against the API server at `server`; `config` is what the servers agree on."""
        _prepare_kernel()
        options, agent = self._options, self._agent
        self._containerd.configure(
            Path(options["private-registry"]), fallback=not options["disable-default-registry-endpoint"]
        )
        self._containerd.start(self._children)
        self._containerd.import_images()
        for component, pair in (("kubelet", "client-kubelet"), ("kubeproxy", "client-kube-proxy")):
            certificate = (agent / f"{pair}.crt", agent / f"{pair}.key")
            kubeconfig(agent / f"{component}.kubeconfig", server, agent / "server-ca.crt", certificate)
        self._api = self._client(server, "client-kube-proxy")
        self._kubelet_api = self._client(server, "client-kubelet")
        self._flannel = config["flannel-backend"] != "none"
        self._children.start("kubelet", *self._kubelet(config))
        if not config["disable-kube-proxy"]:
            self._children.start("kube-proxy", *self._kube_proxy(config))

    def tick(self) -> None:
        """Follow the cluster: routes to the pods of other nodes, and this node's own entry."""
        try:
            nodes = self._api.json("GET", "/api/v1/nodes")["items"]
            if self._flannel:
                self._network(nodes)
            if not self._announced and any(each["metadata"]["name"] == self.name for each in nodes):
                self._announce()
        except (OSError, HttpError) as error:
            log("debug", f"cluster not reachable from here: {error}")

    def servers(self) -> list[str]:
        """Addresses of all API servers, as the Service `kubernetes` knows them; empty where none answers."""
        try:
            slice_ = self._api.json("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        except (OSError, HttpError):
            return []
        return [address for endpoint in slice_.get("endpoints") or [] for address in endpoint["addresses"]]

    def _client(self, server: str, pair: str) -> Client:
        certificate = (self._agent / f"{pair}.crt", self._agent / f"{pair}.key")
        return Client(server, context(self._agent / "server-ca.crt", certificate))

    def _kubelet(self, config: Mapping[str, Any]) -> list[str]:
        options, agent = self._options, self._agent
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(agent / "client-ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "systemd",
            "clusterDNS": [config["cluster-dns"]],
            "clusterDomain": config["cluster-domain"],
            "containerRuntimeEndpoint": f"unix://{SOCKET}",
            "evictionHard": {"imagefs.available": "5%", "nodefs.available": "5%"},
            "failSwapOn": False,
            "healthzBindAddress": "127.0.0.1",
            "protectKernelDefaults": options["protect-kernel-defaults"],
            "resolvConf": options["resolv-conf"] or "/etc/resolv.conf",
            "staticPodPath": str(agent / "pod-manifests"),
            "tlsCertFile": str(agent / "serving-kubelet.crt"),
            "tlsPrivateKeyFile": str(agent / "serving-kubelet.key"),
        }
        (agent / "pod-manifests").mkdir(parents=True, exist_ok=True)
        file = agent / "etc/kubelet.conf.d/00-k3s-defaults.conf"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=2))
        labels = [*options["node-label"], "node.kubernetes.io/instance-type=k3s"]
        given = {
            "config": str(file),
            "kubeconfig": str(agent / "kubelet.kubeconfig"),
            "hostname-override": self.name,
            "node-ip": self.address,
            "node-labels": ",".join(labels),
            "register-with-taints": ",".join(options["node-taint"]),
        }
        return _flags(given, options["kubelet-arg"])

    def _kube_proxy(self, config: Mapping[str, Any]) -> list[str]:
        given = {
            "kubeconfig": str(self._agent / "kubeproxy.kubeconfig"),
            "hostname-override": self.name,
            "cluster-cidr": ",".join(config["cluster-cidr"]),
            "proxy-mode": "iptables",
            "healthz-bind-address": "127.0.0.1",
        }
        return _flags(given, self._options["kube-proxy-arg"])

    def _announce(self) -> None:
        """Say in the Node which release runs here. Any change of its status then shows it as the kubelet's version."""
        path, kind = f"/api/v1/nodes/{self.name}", "application/strategic-merge-patch+json"
        annotations = {
            VERSION_ANNOTATION: self._release.version,
            "k3s.io/hostname": self.name,
            "k3s.io/internal-ip": self.address,
        }
        self._kubelet_api.json("PATCH", path, {"metadata": {"annotations": annotations}}, kind)
        status = {"status": {"nodeInfo": {"kubeletVersion": self._release.version}}}
        self._kubelet_api.json("PATCH", f"{path}/status", status, kind)
        self._announced = True

    def _network(self, nodes: list[dict[str, Any]]) -> None:
        wanted = {}
        for node in nodes:
            pods = node["spec"].get("podCIDR")
            addresses = {each["type"]: each["address"] for each in node.get("status", {}).get("addresses", [])}
            if node["metadata"]["name"] == self.name and pods:
                self._configure_cni(pods)
            elif pods and "InternalIP" in addresses:
                wanted[pods] = addresses["InternalIP"]
        for pods in self._routes.keys() - wanted.keys():
            subprocess.run(["ip", "route", "delete", pods], capture_output=True, check=False)
        for pods, address in wanted.items():
            if self._routes.get(pods) != address:
                run(["ip", "route", "replace", pods, "via", address])
        self._routes = wanted

    def _configure_cni(self, pods: str) -> None:
        bridge = {
            "type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True,
            "ipam": {"type": "host-local", "ranges": [[{"subnet": pods}]], "routes": [{"dst": "0.0.0.0/0"}]},
        }  # fmt: skip
        portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
        content = json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [bridge, portmap]}, indent=2)
        path = self._agent / "etc/cni/net.d/10-flannel.conflist"
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)


def _flags(given: Mapping[str, str], extra: list[str]) -> list[str]:
    """A component's flags; what the operator gives comes last and wins."""
    return [f"--{name}={value}" for name, value in given.items() if value] + [f"--{each}" for each in extra]


def _prepare_kernel() -> None:
    for name, value in _SYSCTLS.items():
        path = Path("/proc/sys", name)
        try:
            if path.read_text().strip() != value:
                path.write_text(value)
        except OSError as error:
            log("warning", f"{os.fspath(path)}: {error}")
