# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is applied: applications of ten objects each, of the kinds that the roles of this collection use."""

from __future__ import annotations

import base64
from typing import Any

__all__ = ["KINDS", "REVISION", "application_set", "with_revision"]

Json = dict[str, Any]
# The kinds of one application with their apiVersion; there are nine kinds for its ten objects.
KINDS = {
    "ServiceAccount": "v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "Deployment": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}
REVISION = "example.com/revision"
_RBAC = "rbac.authorization.k8s.io"


def _deployment(name: str) -> Json:
    container = {
        "name": "worker",
        "image": "registry.example.com/shop/worker:1.27.4",
        "args": ["celery", "-A", "shop", "worker", "--queues", name, "--concurrency", "2"],
        "env": [
            {"name": "BROKER", "valueFrom": {"secretKeyRef": {"name": name, "key": "broker"}}},
            {"name": "QUEUE", "value": name},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"configMapRef": {"name": f"{name}-env"}}],
        "ports": [{"name": "metrics", "containerPort": 9090}],
        # Values as people write them; the server normalises some.
        "resources": {"requests": {"cpu": "0.25", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
        "livenessProbe": {"exec": {"command": ["/probe", "alive"]}, "periodSeconds": 30, "timeoutSeconds": 5},
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "metrics"}, "periodSeconds": 10},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": "/etc/shop"}],
    }
    labels = {"app.kubernetes.io/name": name}
    return {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": name,
                "terminationGracePeriodSeconds": 120,
                "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 1000},
                "containers": [container],
                "volumes": [{"name": "files", "configMap": {"name": f"{name}-files"}}],
            },
        },
    }


def _application(namespace: str, name: str) -> list[Json]:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "shop"}
    selector = {"app.kubernetes.io/name": name}
    settings = {f"SETTING_{number}": f"value {number} of {name}" for number in range(12)}
    secret = {"broker": base64.b64encode(f"redis://:password@{name}:6379/0".encode()).decode()}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}
    parts: list[tuple[str, str, Json]] = [
        ("ServiceAccount", name, {"automountServiceAccountToken": False}),
        ("Role", name, {"rules": [rule]}),
        (
            "RoleBinding",
            name,
            {"roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name}, "subjects": [subject]},
        ),
        ("ConfigMap", f"{name}-env", {"data": settings}),
        ("ConfigMap", f"{name}-files", {"data": {"settings.py": "".join(f"OPTION_{n} = {n}\n" for n in range(100))}}),
        ("Secret", name, {"type": "Opaque", "data": secret}),
        (
            "Service",
            name,
            {"spec": {"selector": selector, "ports": [{"name": "metrics", "port": 9090, "targetPort": "metrics"}]}},
        ),
        ("Deployment", name, {"spec": _deployment(name)}),
        ("PodDisruptionBudget", name, {"spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector}}}),
        (
            "NetworkPolicy",
            name,
            {
                "spec": {
                    "podSelector": {"matchLabels": selector},
                    "policyTypes": ["Ingress"],
                    "ingress": [{"ports": [{"port": 9090}]}],
                }
            },
        ),
    ]
    return [
        {
            "apiVersion": KINDS[kind],
            "kind": kind,
            "metadata": {"name": called, "namespace": namespace, "labels": labels, "annotations": {REVISION: "0"}},
            **content,
        }
        for kind, called, content in parts
    ]


def application_set(namespace: str, count: int) -> list[Json]:
    """`count` objects, a multiple of ten."""
    return [one for number in range(count // 10) for one in _application(namespace, f"app-{number:02}")]


def with_revision(objects: list[Json], revision: str) -> list[Json]:
    """The same set with one object of each application changed, another kind from one application to the next."""
    changed = []
    for number, one in enumerate(objects):
        if number % 10 == number // 10 % 10:
            meta = {**one["metadata"], "annotations": {REVISION: revision}}
            changed.append({**one, "metadata": meta})
        else:
            changed.append(one)
    return changed
