# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SIGKILL to a worker from its node: by a privileged pod there, in a namespace of its own.

A pod needs the cluster's API and nothing else: no SSH, no runtime's socket, no inventory of nodes. So it works from a
laptop, from AWX and on a managed cluster alike. It shares the node's process namespace and finds the container by
the id in its processes' control groups, then kills all of them at once, as the kernel does for want of memory.
"""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["KILL", "NAMESPACE", "container_of", "killed_at", "namespace", "pod"]

Json = dict[str, Any]
NAMESPACE = "celeryops-drill"

KILL = """
import json, os, signal, sys, time
container, victims = sys.argv[1], []
for name in filter(str.isdigit, os.listdir("/proc")):
    try:
        with open("/proc/%s/cgroup" % name) as file:
            if container in file.read():
                victims.append(int(name))
    except OSError:
        pass
at, killed = time.time(), []
for pid in sorted(victims):
    try:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    except ProcessLookupError:
        pass
print(json.dumps({"at": at, "killed": killed}))
"""


def container_of(victim: Json) -> str:
    """The id of the worker's running container."""
    wanted = victim["spec"]["containers"][0]["name"]
    for status in victim["status"].get("containerStatuses") or []:
        if status["name"] == wanted and "running" in (status.get("state") or {}):
            return str(status["containerID"]).rpartition("//")[2]
    raise CeleryOpsError(
        f"worker {victim['metadata']['name']} cannot be killed",
        expected="a running container",
        found=f"containers {victim['status'].get('containerStatuses')}",
        remedy="let the workers become ready, then run the drill again",
    )


def namespace() -> Json:
    """Where the privileged pod may run. The application's own namespace may forbid it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "celeryops",
                "pod-security.kubernetes.io/enforce": "privileged",
            },
        },
    }


def pod(victim: Json, python: str) -> Json:
    """The pod that kills: of the victim's own image, which its node has, and where its node is."""
    container = victim["spec"]["containers"][0]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kill", "namespace": NAMESPACE},
        "spec": {
            "nodeName": victim["spec"]["nodeName"],
            "hostPID": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "kill",
                    "image": container["image"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": [python, "-c", KILL, container_of(victim)],
                    "securityContext": {"privileged": True, "runAsUser": 0},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "32Mi"},
                        "limits": {"cpu": "100m", "memory": "64Mi"},
                    },
                }
            ],
        },
    }


def killed_at(log: str, victim: str) -> float:
    """When, from what the pod said; raises CeleryOpsError when it met nobody."""
    lines = [line for line in log.splitlines() if line.startswith("{")]
    told = json.loads(lines[-1]) if lines else {}
    if not told.get("killed"):
        raise CeleryOpsError(
            f"worker {victim} was not killed",
            expected="processes of its container on its node",
            found=log.strip() or "no output",
            remedy="the node's runtime must name control groups by the container's id, as containerd and CRI-O do",
        )
    return float(told["at"])
