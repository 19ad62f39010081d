# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done on a node itself: by privileged pods there, in a namespace of their own.

A pod needs the cluster's API and nothing else: no SSH, no runtime's socket, no inventory of nodes. So it works from a
laptop, from AWX and on a managed cluster alike. It shares the node's process namespace and finds a container by
the id in its processes' control groups: the kernel lets no signal from inside reach the first process of a container.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.waiting import in_vain, wait_until
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.exec import exec_in_pod
from ansible_collections.celeryops.platform.plugins.module_utils._kube.waiter import wait_for

__all__ = ["KILL", "NAMESPACE", "Hands", "container_of", "killed_at", "namespace", "pod"]

Json = dict[str, Any]
NAMESPACE = "celeryops-drill"
MANAGER = "celeryops-drill"
PAUSE = 0.5

# All processes of a container at once, as the kernel does for want of memory; or, with a name, those of that name that
# no process of the same name has started.
KILL = """
import json, os, signal, sys, time
container, name, victims = sys.argv[1], sys.argv[2], []
def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
def parent(pid):
    found = [line.split()[1] for line in read("/proc/%s/status" % pid).splitlines() if line.startswith("PPid:")]
    return found[0] if found else "0"
for pid in filter(str.isdigit, os.listdir("/proc")):
    if container not in read("/proc/%s/cgroup" % pid):
        continue
    if not name or (read("/proc/%s/comm" % pid).strip() == name != read("/proc/%s/comm" % parent(pid)).strip()):
        victims.append(int(pid))
at, killed = time.time(), []
for pid in sorted(victims):
    try:
        os.kill(pid, signal.SIGKILL)
        killed.append(pid)
    except ProcessLookupError:
        pass
print(json.dumps({"at": at, "killed": killed}))
"""


def container_of(victim: Json, name: str = "") -> str:
    """The id of a pod's running container of that name, or of its first one."""
    wanted = name or victim["spec"]["containers"][0]["name"]
    for status in victim["status"].get("containerStatuses") or []:
        if status["name"] == wanted and "running" in (status.get("state") or {}):
            return str(status["containerID"]).rpartition("//")[2]
    raise CeleryOpsError(
        f"pod {victim['metadata']['name']} cannot be killed",
        expected=f"a running container {wanted}",
        found=f"containers {victim['status'].get('containerStatuses')}",
        remedy="let the pods become ready, then run the drill again",
    )


def namespace() -> Json:
    """Where privileged pods may run. The application's own namespace may forbid it."""
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


def pod(name: str, node: str, image: str, command: list[str], **spec: Any) -> Json:
    """A privileged pod on a node. Nothing moves it away from there."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "nodeName": node,
            "hostPID": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "restartPolicy": "Never",
            "tolerations": [{"operator": "Exists"}],
            "containers": [
                {
                    "name": "hand",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0},
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "48Mi"},
                        "limits": {"cpu": "100m", "memory": "96Mi"},
                    },
                }
            ],
            **spec,
        },
    }


def killed_at(output: str, victim: str) -> float:
    """When, from what the kill said; raises CeleryOpsError when it met nobody."""
    lines = [line for line in output.splitlines() if line.startswith("{")]
    told = json.loads(lines[-1]) if lines else {}
    if not told.get("killed"):
        raise CeleryOpsError(
            f"pod {victim} was not killed",
            expected="processes of its container on its node",
            found=output.strip() or "no output",
            remedy="the node's runtime must name control groups by the container's id, as containerd and CRI-O do",
        )
    return float(told["at"])


@dataclass
class Hands:
    """One such pod on each node where something is done, of an image with Python that the nodes have."""

    api: Api
    image: str
    python: str
    timeout: float
    _there: dict[str, str] = field(default_factory=dict)
    _prepared: bool = False

    def prepare(self) -> None:
        """The namespace. One that an earlier drill has just left is gone first."""
        if self._prepared:
            return
        ref = ObjectRef("v1", "Namespace", NAMESPACE)
        end = time.monotonic() + self.timeout
        self._wait(
            lambda: not (self.api.get(ref) or {"metadata": {}})["metadata"].get("deletionTimestamp"),
            end,
            "the end of the namespace that an earlier drill left",
        )
        self._prepared = True
        self.api.apply(namespace(), field_manager=MANAGER, force=True)
        # No pod is admitted before.
        account = ObjectRef("v1", "ServiceAccount", "default", NAMESPACE)
        self._wait(lambda: self.api.get(account), end, "the service account of the drill's namespace")

    def on(self, node: str) -> str:
        """The name of the pod on a node, which is there when this returns."""
        self.prepare()
        if node not in self._there:
            # It is there to be entered, and ends with its namespace; by itself where nobody is left to remove that.
            command = [self.python, "-c", "import time; time.sleep(14400)"]
            made = self.api.create(pod(f"hand-{secrets.token_hex(3)}", node, self.image, command))
            self._there[node] = made["metadata"]["name"]
            wait_for(self.api, [made], self.timeout)
        return self._there[node]

    def kill(self, victim: Json, container: str = "", process: str = "") -> float:
        """SIGKILL to a container, or to one process of it by its name; when, by its node's clock."""
        name = str(victim["metadata"]["name"])
        command = [self.python, "-c", KILL, container_of(victim, container), process]
        done = exec_in_pod(self.api, NAMESPACE, self.on(victim["spec"]["nodeName"]), command, timeout=60)
        return killed_at(done.stdout + done.stderr, name)

    def close(self) -> None:
        if self._prepared:
            self.api.delete(ObjectRef("v1", "Namespace", NAMESPACE))

    def _wait(self, ready: Callable[[], object], end: float, what: str) -> None:
        found, remedy = f"namespace {NAMESPACE} as it was", f"kubectl describe namespace {NAMESPACE}"
        late = partial(in_vain, what, self.timeout, found, remedy)
        wait_until(ready, end - time.monotonic(), late, PAUSE)
