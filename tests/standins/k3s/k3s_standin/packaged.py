# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server puts into the cluster: CoreDNS, the local-path provisioner, and how a node's version is shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .node import VERSION_ANNOTATION
from .release import Release

__all__ = ["NOT_CARRIED", "base_objects", "coredns", "local_storage"]

# Packaged components of k3s that this stand-in cannot offer, disabled or not.
NOT_CARRIED = ("metrics-server", "servicelb", "traefik")
_SYSTEM = "kube-system"


def base_objects() -> list[dict[str, Any]]:
    """The kubelet behind the stand-in was built once: an admission policy lets its Node say the release's version."""
    name = "k3s-standin-version"
    annotations = "object.metadata.annotations"
    policy = {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["nodes/status"]}
            ]
        },
        "matchConditions": [
            {
                "name": "announced",
                "expression": f"has({annotations}) && '{VERSION_ANNOTATION}' in {annotations}",
            }
        ],
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "JSONPatch",
                "jsonPatch": {
                    "expression": "[JSONPatch{op: 'replace', path: '/status/nodeInfo/kubeletVersion', "
                    f"value: {annotations}['{VERSION_ANNOTATION}']}}]"
                },
            }
        ],
    }
    group = "admissionregistration.k8s.io/v1"
    return [
        _object(group, "MutatingAdmissionPolicy", name, None, spec=policy),
        _object(group, "MutatingAdmissionPolicyBinding", name, None, spec={"policyName": name}),
    ]


def coredns(release: Release, address: str, domain: str) -> list[dict[str, Any]]:
    """Cluster DNS under k3s's names. Names outside the cluster do not exist: nodes of tests have no resolver."""
    corefile = f"""{domain}:53 in-addr.arpa:53 ip6.arpa:53 {{
    errors
    health
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       ttl 30
    }}
    reload
}}
.:53 {{
    errors
    template ANY ANY {{
       rcode NXDOMAIN
    }}
}}
"""
    rules = [
        {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP"},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
    ]
    labels = {"k8s-app": "kube-dns"}
    container = {
        "name": "coredns",
        "image": release.images["coredns"]["reference"],
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [{"containerPort": 53, "name": each["name"], "protocol": each["protocol"]} for each in ports],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "dnsPolicy": "Default",
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
    }
    service = {"clusterIP": address, "selector": labels, "ports": ports}
    return [
        *_account("coredns", "system:coredns", rules),
        _object("v1", "ConfigMap", "coredns", _SYSTEM, data={"Corefile": corefile}),
        _deployment("coredns", labels, pod),
        _object("v1", "Service", "kube-dns", _SYSTEM, spec=service),
    ]


def local_storage(release: Release, path: str) -> list[dict[str, Any]]:
    """The storage class `local-path`, the cluster's default, under k3s's names."""
    helper = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "helper-pod"},
        "spec": {
            "containers": [
                {
                    "name": "helper-pod",
                    "image": release.images["base"]["reference"],
                    "imagePullPolicy": "IfNotPresent",
                }
            ]
        },
    }
    config = {
        "config.json": json.dumps({"nodePathMap": [{"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [path]}]}),
        "setup": '#!/bin/sh\nset -eu\nmkdir -m 0777 -p "$VOL_DIR"\n',
        "teardown": '#!/bin/sh\nset -eu\nrm -rf "$VOL_DIR"\n',
        "helperPod.yaml": json.dumps(helper),
    }
    every = ["get", "list", "watch", "create", "patch", "update", "delete"]
    rules = [
        {
            "apiGroups": [""],
            "resources": ["nodes", "persistentvolumeclaims", "configmaps", "pods/log"],
            "verbs": every[:3],
        },
        {"apiGroups": [""], "resources": ["persistentvolumes", "pods"], "verbs": every},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": every[:3]},
    ]
    name = "local-path-provisioner"
    container = {
        "name": name,
        "image": release.images["local-path-provisioner"]["reference"],
        "imagePullPolicy": "IfNotPresent",
        "args": ["start", "--config", "/etc/config/config.json", "--service-account-name", name],
        "env": [
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "CONFIG_MOUNT_PATH", "value": "/etc/config/"},
        ],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config/"}],
    }
    pod = {
        "serviceAccountName": name,
        "priorityClassName": "system-node-critical",
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "local-path-config"}}],
    }
    storage = _object("storage.k8s.io/v1", "StorageClass", "local-path", None)
    storage["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage |= {
        "provisioner": "rancher.io/local-path",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    }
    return [
        *_account(name, "local-path-provisioner-role", rules),
        _object("v1", "ConfigMap", "local-path-config", _SYSTEM, data=config),
        _deployment(name, {"app": name}, pod),
        storage,
    ]


def _object(api: str, kind: str, name: str, namespace: str | None, **content: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def _account(name: str, role: str, rules: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    return [
        _object("v1", "ServiceAccount", name, _SYSTEM),
        _object(f"{group}/v1", "ClusterRole", role, None, rules=list(rules)),
        _object(
            f"{group}/v1",
            "ClusterRoleBinding",
            role,
            None,
            roleRef={"apiGroup": group, "kind": "ClusterRole", "name": role},
            subjects=[{"kind": "ServiceAccount", "name": name, "namespace": _SYSTEM}],
        ),
    ]


def _deployment(name: str, labels: Mapping[str, str], pod: Mapping[str, Any]) -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": dict(labels)},
        "template": {"metadata": {"labels": dict(labels)}, "spec": dict(pod)},
    }
    return _object("apps/v1", "Deployment", name, _SYSTEM, spec=spec)
