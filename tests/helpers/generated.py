# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Strategies for objects of every kind that roles use: valid, in all the odd spellings that people use."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["CLUSTER_SCOPED", "KINDS", "objects"]

Json = dict[str, Any]

CPU = st.sampled_from([1, 0.5, "500m", "0.50", "1", "1000m", "0.1", "100m", "2e-1", "1500m", "1.5", "+1"])
MEMORY = st.sampled_from(
    ["1Gi", "1024Mi", "1073741824", 1073741824, "1e9", "0.5Gi", "1.5Gi", "64M", "128974848", "1048576Ki", "1G", "1000M"]
)
WORDS = st.sampled_from(["a", "b", "redis", "x-1", "true", "1", "0.5", "null", "on", "yes"])
TEXTS = st.sampled_from(["", "x", " spaces ", "line\nline\n", "1", "true", "ünïcode", "{{ braces }}", "a: b", "~"])
PORTS = st.integers(1, 65535)
PERCENT = st.sampled_from(["25%", "0%", "100%", 1, 2])


def record(required: Json | None = None, /, **optional: Any) -> st.SearchStrategy[Json]:
    """A mapping with the required keys and any of the optional ones."""
    return st.fixed_dictionaries(required or {}, optional=optional)


def some(element: st.SearchStrategy[Any], low: int = 0, high: int = 3, by: str | None = None) -> Any:
    return st.lists(element, min_size=low, max_size=high, unique_by=(lambda one: one[by]) if by else None)


LABELS = st.dictionaries(st.sampled_from(["app", "tier", "example.com/part"]), st.sampled_from(["", "a", "1", "x.y"]))
ANNOTATIONS = st.dictionaries(st.sampled_from(["note", "example.com/checked"]), TEXTS)
SELECTOR = record(
    matchLabels=st.dictionaries(WORDS, st.just("x"), min_size=1),
    matchExpressions=some(
        record({"key": WORDS, "operator": st.just("In"), "values": some(st.sampled_from("xyz"), 1)}), 1, 2
    ),
)

# Pods

AMOUNTS = record(cpu=CPU, memory=MEMORY)
# The server refuses a request above its limit, so one side has the same spelling.
RESOURCES = st.one_of(
    st.just({}),
    record(limits=AMOUNTS),
    record(requests=AMOUNTS),
    st.builds(lambda cpu, memory: {"limits": {"cpu": cpu}, "requests": {"cpu": cpu, "memory": memory}}, CPU, MEMORY),
)
HANDLER = st.one_of(
    record({"exec": record({"command": some(TEXTS.filter(bool), 1)})}),
    record(
        {"httpGet": record({"port": st.one_of(PORTS, st.just("http"))}, path=st.just("/x"), scheme=st.just("HTTP"))}
    ),
    record({"tcpSocket": record({"port": PORTS})}),
)
PROBE = st.builds(
    lambda handler, rest: {**handler, **rest},
    HANDLER,
    record(periodSeconds=st.integers(1, 60), initialDelaySeconds=st.integers(0, 9), timeoutSeconds=st.just(1)),
)
SOURCE = st.one_of(
    record({"fieldRef": record({"fieldPath": st.just("status.podIP")}, apiVersion=st.just("v1"))}),
    record({"resourceFieldRef": record({"resource": st.just("limits.cpu")}, divisor=st.sampled_from([1, "1m", "0"]))}),
    record({"configMapKeyRef": record({"name": WORDS, "key": WORDS}, optional=st.booleans())}),
    record({"secretKeyRef": record({"name": WORDS, "key": WORDS})}),
)
VARIABLE = st.one_of(
    record({"name": st.sampled_from("ABCDEF")}, value=TEXTS),
    record({"name": st.sampled_from("ABCDEF"), "valueFrom": SOURCE}),
)
CONTAINER_SECURITY = record(
    runAsUser=st.integers(0, 1000),
    allowPrivilegeEscalation=st.just(False),
    capabilities=record(drop=some(st.just("ALL"), 1, 1)),
    seccompProfile=st.just({"type": "RuntimeDefault"}),
)
CONTAINER = record(
    {"name": st.sampled_from(["main", "side", "third"]), "image": st.sampled_from(["x/a", "x/a:latest", "x/a:1"])},
    args=some(TEXTS),
    env=some(VARIABLE, by="name"),
    envFrom=some(record({"configMapRef": record({"name": WORDS})}, prefix=st.just("P_"))),
    ports=some(record({"containerPort": PORTS}, protocol=st.sampled_from(["TCP", "UDP"])), by="containerPort"),
    resources=RESOURCES,
    livenessProbe=PROBE,
    readinessProbe=PROBE,
    securityContext=CONTAINER_SECURITY,
    imagePullPolicy=st.sampled_from(["Always", "IfNotPresent"]),
)
VOLUME = st.builds(
    lambda name, source: {"name": name, **source},
    st.sampled_from(["v1", "v2", "v3", "v4"]),
    st.one_of(
        record({"emptyDir": record(medium=st.just("Memory"), sizeLimit=MEMORY)}),
        record(
            {
                "configMap": record(
                    {"name": WORDS},
                    defaultMode=st.just(420),
                    items=some(record({"key": WORDS, "path": st.just("p")}, mode=st.just(256)), 1, 1),
                )
            }
        ),
        record({"secret": record({"secretName": WORDS}, optional=st.booleans())}),
        record({"persistentVolumeClaim": record({"claimName": WORDS})}),
        record({"hostPath": record({"path": st.just("/x")})}),
        record(
            {
                "downwardAPI": record(
                    {
                        "items": some(
                            record(
                                {"path": st.just("p"), "fieldRef": record({"fieldPath": st.just("metadata.labels")})}
                            ),
                            1,
                            1,
                        )
                    }
                )
            }
        ),
        record(
            {
                "projected": record(
                    {
                        "sources": st.lists(
                            st.one_of(
                                record(
                                    {
                                        "serviceAccountToken": record(
                                            {"path": st.just("t")}, expirationSeconds=st.just(3600)
                                        )
                                    }
                                ),
                                record({"configMap": record({"name": WORDS})}),
                                record(
                                    {
                                        "downwardAPI": record(
                                            {
                                                "items": some(
                                                    record(
                                                        {
                                                            "path": st.just("q"),
                                                            "fieldRef": record({"fieldPath": st.just("metadata.name")}),
                                                        }
                                                    ),
                                                    1,
                                                    1,
                                                )
                                            }
                                        )
                                    }
                                ),
                            ),
                            min_size=1,
                            max_size=2,
                            unique_by=lambda one: next(iter(one)),
                        )
                    }
                )
            }
        ),
    ),
)
TERM = record({"topologyKey": st.just("kubernetes.io/hostname"), "labelSelector": SELECTOR})
AFFINITY = record(
    podAntiAffinity=record(
        preferredDuringSchedulingIgnoredDuringExecution=some(
            record({"weight": st.integers(1, 100), "podAffinityTerm": TERM}), 1, 1
        ),
        requiredDuringSchedulingIgnoredDuringExecution=some(TERM, 1, 1),
    ),
)
TOLERATION = record({"key": WORDS, "operator": st.just("Exists")}, effect=st.just("NoSchedule"))
SPREAD = record(
    {
        "maxSkew": st.integers(1, 3),
        "topologyKey": st.just("kubernetes.io/hostname"),
        "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"]),
        "labelSelector": SELECTOR,
    }
)


def pod_spec(**restart: Any) -> Any:
    return record(
        {"containers": some(CONTAINER, 1, 2, by="name"), **restart},
        initContainers=some(record({"name": st.just("init"), "image": st.just("x/i:1")}, resources=RESOURCES), 0, 1),
        volumes=some(VOLUME, by="name"),
        nodeSelector=LABELS,
        securityContext=record(runAsUser=st.just(1000), fsGroup=st.just(1000), runAsNonRoot=st.just(True)),
        serviceAccountName=st.just("default"),
        terminationGracePeriodSeconds=st.integers(0, 60),
        tolerations=some(TOLERATION),
        affinity=AFFINITY,
        topologySpreadConstraints=some(SPREAD, by="whenUnsatisfiable"),
        imagePullSecrets=some(record({"name": WORDS}), by="name"),
        enableServiceLinks=st.booleans(),
    )


def template(**restart: Any) -> Any:
    metadata = st.builds(
        lambda labels, annotations: {"labels": {**labels, "pods": "x"}, "annotations": annotations}, LABELS, ANNOTATIONS
    )
    return record({"metadata": metadata, "spec": pod_spec(**restart)})


OWN = st.just({"matchLabels": {"pods": "x"}})
ENDING = {"restartPolicy": st.sampled_from(["Never", "OnFailure"])}
CLAIM_SPEC = record(
    {"accessModes": st.just(["ReadWriteOnce"]), "resources": record({"requests": record({"storage": MEMORY})})},
    storageClassName=st.sampled_from(["", "fast"]),
    volumeMode=st.just("Filesystem"),
)
JOB = record(
    {"template": record({"spec": pod_spec(**ENDING)}, metadata=st.just({"labels": {"a": "b"}}))},
    backoffLimit=st.integers(0, 6),
    completions=st.integers(1, 3),
    parallelism=st.integers(0, 3),
    activeDeadlineSeconds=st.integers(1, 99),
    ttlSecondsAfterFinished=st.integers(0, 99),
    suspend=st.booleans(),
)

# Others

SERVICE_PORT = record(
    {"port": PORTS, "name": st.sampled_from(["a", "b", "c"])},
    targetPort=st.one_of(PORTS, st.just("http")),
    protocol=st.sampled_from(["TCP", "UDP"]),
)
PEER = st.one_of(
    record({"podSelector": SELECTOR}),
    record({"namespaceSelector": st.just({})}),
    record({"ipBlock": record({"cidr": st.just("10.0.0.0/8")}, **{"except": st.just(["10.1.0.0/16"])})}),
)


def _differ(ports: list[Json]) -> bool:
    """The server knows a Service's ports by number and protocol."""
    return len({(port["port"], port.get("protocol", "TCP")) for port in ports}) == len(ports)


POLICY_PORT = record(port=st.one_of(PORTS, st.just("http")), protocol=st.sampled_from(["TCP", "UDP"]))
RULES = some(
    record(
        {"apiGroups": some(st.sampled_from(["", "apps"]), 1), "verbs": some(st.sampled_from(["get", "list"]), 1)}
        | {"resources": some(st.sampled_from(["pods", "deployments/scale"]), 1)},
        resourceNames=some(WORDS, 0, 2),
    )
)
SUBJECTS = some(
    st.one_of(
        record({"kind": st.just("ServiceAccount"), "name": WORDS, "namespace": st.just("default")}),
        record(
            {"kind": st.sampled_from(["User", "Group"]), "name": WORDS}, apiGroup=st.just("rbac.authorization.k8s.io")
        ),
    )
)
LIMIT = st.one_of(
    record({"type": st.just("Container"), "max": AMOUNTS}),
    record(
        {"type": st.just("Container"), "min": st.just({"cpu": "10m"})}, default=st.just({"cpu": 1, "memory": "1Gi"})
    ),
    record({"type": st.just("Container"), "defaultRequest": st.just({"cpu": 0.1}), "default": st.just({"cpu": 0.2})}),
    record({"type": st.just("Container"), "maxLimitRequestRatio": record(cpu=st.sampled_from([2, "2", "2000m"]))}),
    record({"type": st.just("Pod"), "max": AMOUNTS}),
    record({"type": st.just("PersistentVolumeClaim"), "max": record({"storage": MEMORY})}),
)
UTILIZATION = record({"type": st.just("Utilization"), "averageUtilization": st.integers(1, 100)})
METRIC = st.one_of(
    record({"type": st.just("Resource"), "resource": record({"name": st.just("cpu"), "target": UTILIZATION})}),
    record(
        {
            "type": st.just("External"),
            "external": record(
                {
                    "metric": record({"name": st.just("queue")}, selector=SELECTOR),
                    "target": record(
                        {"type": st.just("AverageValue"), "averageValue": st.sampled_from([5, "5", "5000m"])}
                    ),
                }
            ),
        }
    ),
)
SCALING = record(
    stabilizationWindowSeconds=st.integers(0, 600),
    selectPolicy=st.sampled_from(["Max", "Min"]),
    policies=some(
        record(
            {"type": st.sampled_from(["Pods", "Percent"]), "value": st.integers(1, 9), "periodSeconds": st.just(60)}
        ),
        1,
    ),
)
ROLE_REF = {"apiGroup": st.just("rbac.authorization.k8s.io"), "name": WORDS}
RBAC = "rbac.authorization.k8s.io/v1"
DATA = st.dictionaries(st.sampled_from(["a", "b.conf", "C_D"]), TEXTS)

KINDS: dict[str, tuple[str, Any]] = {
    "ConfigMap": ("v1", record(data=DATA, binaryData=st.just({"bin": "AAEC"}), immutable=st.just(False))),
    "Secret": ("v1", record(data=st.just({"k": "dg=="}), stringData=DATA, type=st.just("Opaque"))),
    "ServiceAccount": (
        "v1",
        record(automountServiceAccountToken=st.booleans(), imagePullSecrets=some(record({"name": WORDS}), by="name")),
    ),
    "Namespace": ("v1", st.just({})),
    "LimitRange": ("v1", record({"spec": record({"limits": some(LIMIT, 1, by="type")})})),
    "ResourceQuota": (
        "v1",
        record(
            {
                "spec": record(
                    hard=record(
                        **{"pods": st.sampled_from([5, "5", "1k"]), "requests.cpu": CPU, "limits.memory": MEMORY}
                    ),
                    scopes=st.just(["NotTerminating"]),
                )
            }
        ),
    ),
    "PersistentVolumeClaim": ("v1", record({"spec": CLAIM_SPEC})),
    "Service": (
        "v1",
        record(
            {
                "spec": record(
                    {"ports": some(SERVICE_PORT, 1, by="name").filter(_differ)},
                    selector=LABELS,
                    type=st.just("ClusterIP"),
                    clusterIP=st.just("None"),
                    publishNotReadyAddresses=st.booleans(),
                    sessionAffinity=st.sampled_from(["None", "ClientIP"]),
                    internalTrafficPolicy=st.just("Local"),
                )
            }
        ),
    ),
    "Deployment": (
        "apps/v1",
        record(
            {
                "spec": record(
                    {"selector": OWN, "template": template()},
                    replicas=st.integers(0, 5),
                    strategy=st.one_of(
                        st.just({"type": "Recreate"}),
                        record(rollingUpdate=record(maxSurge=PERCENT, maxUnavailable=st.sampled_from(["50%", 1]))),
                    ),
                    minReadySeconds=st.integers(0, 9),
                    revisionHistoryLimit=st.integers(0, 9),
                    paused=st.booleans(),
                )
            }
        ),
    ),
    "StatefulSet": (
        "apps/v1",
        record(
            {
                "spec": record(
                    {"selector": OWN, "template": template(), "serviceName": st.just("x")},
                    replicas=st.integers(0, 5),
                    podManagementPolicy=st.sampled_from(["Parallel", "OrderedReady"]),
                    updateStrategy=st.one_of(
                        st.just({"type": "OnDelete"}), record(rollingUpdate=record(partition=st.integers(0, 2)))
                    ),
                    volumeClaimTemplates=some(
                        record(
                            {"metadata": record({"name": st.sampled_from("cd")}, labels=LABELS), "spec": CLAIM_SPEC}
                        ),
                        0,
                        1,
                    ),
                    persistentVolumeClaimRetentionPolicy=record(whenDeleted=st.just("Retain")),
                )
            }
        ),
    ),
    "DaemonSet": (
        "apps/v1",
        record(
            {
                "spec": record(
                    {"selector": OWN, "template": template()},
                    updateStrategy=record(rollingUpdate=record(maxUnavailable=st.sampled_from(["10%", 1]))),
                )
            }
        ),
    ),
    "Job": ("batch/v1", record({"spec": JOB})),
    "CronJob": (
        "batch/v1",
        record(
            {
                "spec": record(
                    {
                        "schedule": st.just("*/5 * * * *"),
                        "jobTemplate": record({"spec": JOB}, metadata=record(labels=LABELS)),
                    },
                    concurrencyPolicy=st.sampled_from(["Forbid", "Allow"]),
                    suspend=st.booleans(),
                    successfulJobsHistoryLimit=st.integers(0, 3),
                )
            }
        ),
    ),
    "PodDisruptionBudget": (
        "policy/v1",
        record(
            {
                "spec": st.one_of(
                    record({"minAvailable": PERCENT, "selector": SELECTOR}),
                    record({"maxUnavailable": PERCENT}, selector=st.just({})),
                )
            }
        ),
    ),
    "HorizontalPodAutoscaler": (
        "autoscaling/v2",
        record(
            {
                "spec": record(
                    {
                        "maxReplicas": st.integers(5, 9),
                        "scaleTargetRef": st.just({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}),
                    },
                    minReplicas=st.integers(1, 5),
                    metrics=some(METRIC, 1),
                    behavior=record(scaleUp=SCALING, scaleDown=SCALING),
                )
            }
        ),
    ),
    "NetworkPolicy": (
        "networking.k8s.io/v1",
        record(
            {
                "spec": record(
                    {"podSelector": st.one_of(st.just({}), SELECTOR)},
                    policyTypes=st.sampled_from([["Ingress"], ["Ingress", "Egress"]]),
                    ingress=some(record(ports=some(POLICY_PORT), **{"from": some(PEER)})),
                    egress=some(record(ports=some(POLICY_PORT), to=some(PEER))),
                )
            }
        ),
    ),
    "Role": (RBAC, record({"rules": RULES})),
    "ClusterRole": (RBAC, record(rules=RULES)),
    "RoleBinding": (RBAC, record({"roleRef": record({**ROLE_REF, "kind": st.just("Role")})}, subjects=SUBJECTS)),
    "ClusterRoleBinding": (
        RBAC,
        record({"roleRef": record({**ROLE_REF, "kind": st.just("ClusterRole")})}, subjects=SUBJECTS),
    ),
    "PriorityClass": (
        "scheduling.k8s.io/v1",
        record({"value": st.integers(-9, 9)}, globalDefault=st.just(False), description=TEXTS),
    ),
    "StorageClass": (
        "storage.k8s.io/v1",
        record(
            {"provisioner": st.just("example.com/p")},
            parameters=st.dictionaries(WORDS, WORDS),
            reclaimPolicy=st.sampled_from(["Delete", "Retain"]),
            volumeBindingMode=st.just("WaitForFirstConsumer"),
            allowVolumeExpansion=st.booleans(),
            mountOptions=some(WORDS),
        ),
    ),
}
CLUSTER_SCOPED = ("Namespace", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "StorageClass")


def objects(kind: str) -> st.SearchStrategy[Json]:
    """Definitions of a kind, without name and namespace."""
    version, rest = KINDS[kind]
    metadata = record(labels=LABELS, annotations=ANNOTATIONS)
    return st.builds(
        lambda metadata, rest: {"apiVersion": version, "kind": kind, "metadata": metadata, **rest}, metadata, rest
    )
