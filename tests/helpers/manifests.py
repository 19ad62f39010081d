# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects to apply, and ways to apply them.

There is one of each kind that roles use, in the spelling people use: quantities to normalise, defaults left out.
"""

from __future__ import annotations

from typing import Any

import yaml

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, Json, ObjectRef

__all__ = ["SMALL", "actions", "apply", "config_map", "deployment", "every_kind", "limit_range", "live"]

# What a shell needs that waits.
SMALL = {"limits": {"cpu": "20m", "memory": "32Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}

_OBJECTS = """
apiVersion: v1
kind: LimitRange
metadata: {name: limits}
spec: {limits: [{type: Container, maxLimitRequestRatio: {cpu: 2, memory: 2}}]}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: quota}
spec: {hard: {pods: 100, requests.cpu: 10}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: worker}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: worker}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: worker}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: worker}
subjects: [{kind: ServiceAccount, name: worker}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: worker}
spec: {podSelector: {}, policyTypes: [Ingress], ingress: [{ports: [{port: 8000}]}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: app-config, annotations: {}}
data: {REDIS_HOST: redis, SENTRY_DSN: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: app-secrets}
stringData: {password: correct horse}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: reports}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1024Mi}}}
---
apiVersion: v1
kind: Service
metadata: {name: worker}
spec: {selector: {app: worker}, ports: [{port: 80, targetPort: 8000, name: a}, {port: 81, targetPort: b, name: b}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: redis}
spec:
  replicas: 3
  serviceName: redis-headless
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      containers:
        - name: redis
          image: example.invalid/redis:1
          resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 0.5, memory: 512Mi}}
          volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
    - metadata: {name: data}
      spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers:
        - name: agent
          image: example.invalid/agent:1
          resources: {limits: {cpu: 20m, memory: 32Mi}, requests: {cpu: 10m, memory: 32Mi}}
---
apiVersion: batch/v1
kind: Job
metadata: {name: migrate}
spec:
  backoffLimit: 1
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: migrate
          image: example.invalid/app:1
          resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 512Mi}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: backup}
spec:
  schedule: "0 2 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
            - name: backup
              image: example.invalid/app:1
              resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 512Mi}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: worker}
spec: {minAvailable: 2, selector: {matchLabels: {app: worker}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: redis}
spec:
  minReplicas: 3
  maxReplicas: 5
  scaleTargetRef: {apiVersion: apps/v1, kind: StatefulSet, name: redis}
  metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 70}}}]
"""
_DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: worker, labels: {app: worker}}
spec:
  replicas: 3
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}
  selector: {matchLabels: {app: worker}}
  template:
    metadata: {labels: {app: worker}}
    spec:
      securityContext: {runAsUser: 1000, runAsNonRoot: true}
      affinity:
        podAntiAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - weight: 100
              podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {app: worker}}}
      initContainers:
        - name: wait
          image: example.invalid/app:1
          resources: {limits: {cpu: 0.1, memory: 64Mi}, requests: {cpu: 50m, memory: 32Mi}}
      containers:
        - name: worker
          image: example.invalid/app:1
          ports: [{containerPort: 8000}]
          env:
            - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: PASSWORD, valueFrom: {secretKeyRef: {name: app-secrets, key: password}}}
          envFrom: [{configMapRef: {name: app-config}}]
          resources: {limits: {cpu: 0.8, memory: 1024Mi}, requests: {cpu: 400m, memory: 512Mi}}
          livenessProbe: {exec: {command: [/bin/true]}, periodSeconds: 30}
          securityContext: {capabilities: {drop: [ALL]}, allowPrivilegeEscalation: false}
          volumeMounts: [{name: shm, mountPath: /dev/shm}, {name: scratch, mountPath: /scratch}]
      volumes:
        - {name: shm, emptyDir: {medium: Memory, sizeLimit: 128Mi}}
        - {name: scratch, emptyDir: {}}
"""


def deployment(namespace: str) -> dict[str, Any]:
    """A worker that reads ConfigMap app-config and Secret app-secrets."""
    found: dict[str, Any] = yaml.safe_load(_DEPLOYMENT)
    found["metadata"]["namespace"] = namespace
    return found


def every_kind(namespace: str) -> list[dict[str, Any]]:
    """A set of one object per kind, in an order in which it could not be applied."""
    found = [*yaml.safe_load_all(_OBJECTS), deployment(namespace)]
    for obj in found:
        obj["metadata"]["namespace"] = namespace
        for subject in obj.get("subjects") or []:
            subject["namespace"] = namespace
    return found[::-1]


def limit_range(namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "limits", "namespace": namespace},
        "spec": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": 2, "memory": 2}}]},
    }


def config_map(namespace: str, name: str = "app-config", **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def live(api: Api, obj: Json) -> Json:
    found = api.get(ObjectRef.of(obj))
    assert found is not None
    return found


def actions(result: Json) -> dict[str, str]:
    assert not result.get("failed"), result["msg"]
    return {f"{entry['kind']} {entry['name']}": entry["action"] for entry in result["objects"]}


def apply(run: Any, *objects: Json, check: bool = False, **options: Any) -> Json:
    result: Json = run("manifests", {"definitions": list(objects), "wait": False, **options}, check=check, diff=True)
    return result
