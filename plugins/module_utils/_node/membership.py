# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a node has come on its way into a cluster, and the safe way on from there. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["COMPLETE", "INIT", "JOIN", "NOTHING", "RESET", "Member", "plan_init", "plan_join"]

NOTHING = "nothing"
INIT = "init"
JOIN = "join"
RESET = "reset"
# kubeadm init over its own unfinished traces: it keeps certificates and etcd's data, and writes the rest
# again.
COMPLETE = "complete"


@dataclass(frozen=True)
class Member:
    """Traces of kubeadm on a node.

    ``finished``: an init or join came to its end here. ``api_ready``: the node's API server answers /readyz.
    ``complete``: it holds what kubeadm's last phase writes (kube-proxy). ``ca``: the cluster's, in PEM.
    """

    kubelet_conf: bool = False
    traces: bool = False
    etcd_data: bool = False
    finished: bool = False
    api_ready: bool = False
    complete: bool = False
    ca: str = ""


def plan_init(found: Member, *, reset: bool) -> list[str]:
    """Steps for the first control-plane node. etcd's data is never thrown away without ``reset``."""
    if found.api_ready and found.complete:
        return [NOTHING]
    if not (found.traces or found.kubelet_conf or found.etcd_data):
        return [INIT]
    if found.etcd_data and not found.traces and not reset:
        raise CeleryOpsError(
            "etcd's data of an earlier cluster is there, but its certificates are gone",
            expected="both, or neither",
            found="/var/lib/etcd/member, and no /etc/kubernetes/pki",
            remedy="restore /etc/kubernetes of that cluster; to throw its data away: -e kubeadm_reset=true",
        )
    if found.finished and not reset:
        raise CeleryOpsError(
            "The API server of this control-plane node does not answer",
            expected="an answer on /readyz: the cluster was once complete",
            found="none" if not found.api_ready else "an API without kube-proxy's DaemonSet",
            remedy="look at `journalctl -u kubelet` and `ctr -n k8s.io tasks ls` on the node; to throw the"
            " cluster "
            "and all its data away: -e kubeadm_reset=true",
        )
    if found.etcd_data and not reset:
        return [COMPLETE]
    return [RESET, INIT]


def plan_join(found: Member, *, ca: str, reset: bool) -> list[str]:
    """Steps for a node that is to join the cluster with the certificate ``ca``."""
    same = bool(found.ca) and found.ca.strip() == ca.strip()
    if found.kubelet_conf and same:
        return [NOTHING]
    if not (found.traces or found.kubelet_conf):
        return [JOIN]
    # A join that did not end left a CA at most; a kubelet.conf says that the node became a member, of some
    # cluster.
    if found.kubelet_conf and not same and not reset:
        raise CeleryOpsError(
            "This node is a member of another cluster",
            expected="no membership, or one of the cluster that this inventory's control plane holds",
            found="a kubelet.conf and a different CA certificate in /etc/kubernetes/pki/ca.crt",
            remedy="if that other cluster is gone (its control plane was made anew), take the node out of "
            "it: "
            "-e kubeadm_reset=true; otherwise correct the inventory",
        )
    return [RESET, JOIN]
