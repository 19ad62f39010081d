# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod in which a client of Redis or PostgreSQL writes through failures."""

from __future__ import annotations

from typing import Any

__all__ = ["client_pod"]

Json = dict[str, Any]


def client_pod(
    name: str,
    namespace: str,
    image: str,
    command: list[str],
    *,
    env: list[Json] | None = None,
    avoid: str = "",
    **spec: Any,
) -> Json:
    """As any pod of the application may run, and not on the node ``avoid``. ``spec``: the pod's, over what is usual."""
    elsewhere = [{"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": [avoid]}]}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": elsewhere}}
    container = {
        "name": "client",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "env": env or [],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {
            "requests": {"cpu": "150m", "memory": "64Mi"},
            "limits": {"cpu": "300m", "memory": "128Mi"},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/name": "celeryops-drill", "app.kubernetes.io/managed-by": "celeryops"},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            # Should nobody be left to delete it.
            "activeDeadlineSeconds": 14400,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 1000,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "affinity": {"nodeAffinity": required} if avoid else {},
            "containers": [container],
            **spec,
        },
    }
