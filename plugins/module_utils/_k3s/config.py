# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The keys of k3s's configuration file, and what is wrong with a declared one. No I/O."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["AGENT_KEYS", "SECRET_KEYS", "SERVER_KEYS", "findings"]

# Options of `k3s agent` and `k3s server`, from docs.k3s.io/cli/agent and docs.k3s.io/cli/server (the help of v1.33).
# k3s skips a key that it does not know with one line in its log, so a typing error is found here or not at all.
_AGENT = """
debug v vmodule log alsologtostderr data-dir node-name node-label node-taint
image-credential-provider-bin-dir image-credential-provider-config selinux lb-server-port protect-kernel-defaults
container-runtime-endpoint default-runtime image-service-endpoint pause-image snapshotter private-registry
disable-default-registry-endpoint nonroot-devices node-ip bind-address node-external-ip node-internal-dns
node-external-dns resolv-conf flannel-iface flannel-conf flannel-cni-conf kubelet-arg kube-proxy-arg enable-pprof
prefer-bundled-bin docker vpn-auth vpn-auth-file disable-apiserver-lb
"""
_SERVER = """
https-listen-port advertise-address advertise-port tls-san tls-san-security cluster-cidr service-cidr
service-node-port-range cluster-dns cluster-domain flannel-backend flannel-ipv6-masq flannel-external-ip
egress-selector-mode servicelb-namespace write-kubeconfig-mode write-kubeconfig-group helm-job-image agent-token
agent-token-file kube-apiserver-arg etcd-arg kube-controller-manager-arg kube-scheduler-arg
kube-cloud-controller-manager-arg datastore-endpoint datastore-cafile datastore-certfile datastore-keyfile
etcd-expose-metrics etcd-disable-snapshots etcd-snapshot-name etcd-snapshot-schedule-cron etcd-snapshot-retention
etcd-snapshot-dir etcd-snapshot-compress etcd-s3 etcd-s3-endpoint etcd-s3-endpoint-ca etcd-s3-skip-ssl-verify
etcd-s3-access-key etcd-s3-secret-key etcd-s3-bucket etcd-s3-region etcd-s3-folder etcd-s3-proxy
etcd-s3-config-secret etcd-s3-insecure etcd-s3-timeout default-local-storage-path disable disable-scheduler
disable-cloud-controller disable-kube-proxy disable-network-policy disable-helm-controller embedded-registry
supervisor-metrics system-default-registry secrets-encryption secrets-encryption-provider
"""
AGENT_KEYS = frozenset(_AGENT.split())
SERVER_KEYS = AGENT_KEYS | frozenset(_SERVER.split())
SECRET_KEYS = frozenset(["agent-token", "datastore-endpoint", "etcd-s3-access-key", "etcd-s3-secret-key", "vpn-auth"])
# What the role decides itself, and by which variable, if by any.
_OWN = {
    "cluster-init": "k3s_etcd",
    "cluster-reset": "the playbook k3s_restore",
    "cluster-reset-restore-path": "the playbook k3s_restore",
    "data-dir": "nothing: it is /var/lib/rancher/k3s",
    "server": "k3s_endpoint",
    "token": "k3s_token",
    "token-file": "k3s_token",
    "with-node-id": "node-name: nodes are looked up by their names",
    "write-kubeconfig": "nothing: it is /etc/rancher/k3s/k3s.yaml",
    "rootless": "nothing: the role installs a system service",
}


def findings(variable: str, options: Iterable[str], role: str, known: frozenset[str], *, secret: bool) -> list[str]:
    """What is wrong with the options of one variable, each in one sentence."""
    allowed = ((SERVER_KEYS if role == "server" else AGENT_KEYS) | known) - set(_OWN)
    problems = []
    for key in options:
        # A + appends to what an earlier file has.
        name = str(key).removesuffix("+")
        if name in _OWN:
            problems.append(f"{variable}: {name} is not taken from here; it is decided by {_OWN[name]}")
        elif name not in allowed:
            near = difflib.get_close_matches(name, sorted(allowed), 1)
            hint = f"did you mean {near[0]}?" if near else "k3s_known_options takes options newer than this list"
            problems.append(f"{variable}: k3s {role} has no option {name}, and would skip it; {hint}")
        elif name in SECRET_KEYS and not secret:
            problems.append(f"{variable}: {name} is a secret and this file is readable for all; use k3s_secret_config")
    return problems
