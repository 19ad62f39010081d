# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm on the node itself: what it left there, and running it. Standard library only."""

from __future__ import annotations

import base64
import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._node.api import (
    ADMIN,
    CA,
    ETC,
    status,
)
from ansible_collections.celeryops.platform.plugins.module_utils._node.config import run
from ansible_collections.celeryops.platform.plugins.module_utils._node.membership import (
    COMPLETE,
    INIT,
    JOIN,
    NOTHING,
    RESET,
    Member,
)

__all__ = ["carry_out", "discovery", "exclusive", "observe"]

_DONE = ETC / "celeryops-member"
_ETCD_DATA = Path("/var/lib/etcd/member")
_LOCK = Path("/run/celeryops-kubeadm.lock")
_SOCKET = "unix:///run/containerd/containerd.sock"
_CHATTER = re.compile(r"^\x1b\[|SystemVerification|^\[preflight\] The system verification failed")
_TOKEN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")

# What an unfinished init leaves and its repetition may find: its own files, and its own servers on their
# ports.
_OWN_TRACES = (
    "FileAvailable--etc-kubernetes-manifests-kube-apiserver.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-controller-manager.yaml",
    "FileAvailable--etc-kubernetes-manifests-kube-scheduler.yaml",
    "FileAvailable--etc-kubernetes-manifests-etcd.yaml",
    "FileAvailable--etc-kubernetes-kubelet.conf",
    "DirAvailable--var-lib-etcd",
    "Port-6443",
    "Port-2379",
    "Port-2380",
    "Port-10250",
    "Port-10257",
    "Port-10259",
)


@contextmanager
def exclusive(timeout: float) -> Iterator[None]:
    """One kubeadm at a time: that of an interrupted play may still be running on the node."""
    deadline = time.monotonic() + timeout
    with _LOCK.open("w", encoding="ascii") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise CeleryOpsError(
                        "Another kubeadm is still at work on this node",
                        expected=f"that it ends within {timeout:.0f} s",
                        found=f"a process that holds {_LOCK}",
                        remedy="look for it with `ps`, and run again",
                    ) from error
                time.sleep(0.5)
        yield


def discovery(endpoint: str, ca: str) -> str:
    """A kubeconfig (as JSON, which is YAML too) with the API server's address and certificate."""
    data = base64.b64encode(ca.encode()).decode()
    # A cluster without a name is the one that kubeadm takes where no context chooses; a context would need a
    # user.
    cluster = {"name": "", "cluster": {"server": f"https://{endpoint}", "certificate-authority-data": data}}
    return json.dumps({"apiVersion": "v1", "kind": "Config", "clusters": [cluster]})


def observe(*, timeout: float) -> Member:
    """The traces on this node. After a boot an API server gets ``timeout`` seconds to answer."""
    traces = any(
        path.exists() for path in (CA, ETC / "bootstrap-kubelet.conf", ETC / "manifests/kube-apiserver.yaml", ADMIN)
    )
    finished = _DONE.exists()
    ready = False
    if (ETC / "manifests/kube-apiserver.yaml").exists():
        active = run(["systemctl", "is-active", "kubelet.service"], check=False).stdout.strip() == "active"
        deadline = time.monotonic() + (timeout if active else 0)
        while not (ready := status("/readyz") == 200) and time.monotonic() < deadline:
            time.sleep(0.5)
    return Member(
        kubelet_conf=(ETC / "kubelet.conf").exists(),
        traces=traces,
        etcd_data=_ETCD_DATA.exists(),
        finished=finished,
        api_ready=ready,
        complete=ready and status("/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy") == 200,
        ca=CA.read_text(encoding="ascii") if CA.exists() else "",
    )


def carry_out(step: str, *, config: str, ignore: Sequence[str], timeout: float) -> None:
    """One step of the plan."""
    if step == NOTHING:
        _DONE.touch(mode=0o600)
        return
    if step == RESET:
        run(["kubeadm", "reset", "--force", "--cri-socket", _SOCKET], timeout=timeout)
        for path in (_DONE, ETC / "bootstrap-kubelet.conf"):
            path.unlink(missing_ok=True)
        # kubeadm takes etcd for an external one, and leaves its data, when the manifest is gone.
        shutil.rmtree(_ETCD_DATA, ignore_errors=True)
        # Back in a cluster the node gets another range of pod addresses: no trace of the old one.
        run(["ip", "link", "delete", "cni0"], check=False)
        shutil.rmtree("/var/lib/cni", ignore_errors=True)
        Path("/etc/cni/net.d/10-podnet.conflist").unlink(missing_ok=True)
        return
    ignored = [*ignore, *(_OWN_TRACES if step == COMPLETE else ())]
    flags = ["--ignore-preflight-errors", ",".join(ignored)] if ignored else []
    verb = {INIT: ["init", "--skip-token-print"], COMPLETE: ["init", "--skip-token-print"], JOIN: ["join"]}[step]
    done = run(["kubeadm", *verb, "--config", config, *flags], check=False, timeout=timeout)
    if done.returncode != 0:
        # Without the page of kernel options that precedes an error
        lines = _TOKEN.sub("<token>", f"{done.stdout}\n{done.stderr}").splitlines()
        said = "\n".join(line for line in lines if not _CHATTER.search(line)).strip()
        raise CeleryOpsError(
            f"`kubeadm {verb[0]}` failed",
            expected="exit code 0",
            found=f"exit code {done.returncode}: {said[-3000:]}",
            remedy="the message is kubeadm's own; after the cause is gone, run again: it goes on from here",
        )
    _DONE.touch(mode=0o600)
