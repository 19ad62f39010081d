#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply a set of Kubernetes objects with one call."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Apply a set of Kubernetes objects with one call
description:
  - Applies objects by server-side apply, in an order in which each finds what it needs, then waits for all.
extends_documentation_fragment:
  - celeryops.platform.kube
options:
  definitions: {description: The objects., type: list, elements: dict, required: true}
  state: {description: Whether they are there., type: str, choices: [present, absent], default: present}
  wait: {description: Wait until workloads are ready., type: bool, default: true}
  wait_timeout: {description: Seconds., type: int, default: 300}
  field_manager: {description: Who owns the fields., type: str, default: celeryops}
  force_conflicts: {description: Take fields over., type: bool, default: false}
  config_rollout: {description: Roll pods on config change., type: bool, default: true}
author: [The celeryops maintainers (@celeryops)]
"""
EXAMPLES = r""""""
RETURN = r""""""

import hashlib
import json
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef, connect
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

ORDER = ["Namespace", "LimitRange", "ResourceQuota", "ServiceAccount", "ClusterRole", "Role", "ClusterRoleBinding", "RoleBinding",
         "StorageClass", "Secret", "ConfigMap", "PersistentVolumeClaim", "Service"]


def stripped(obj):
    obj = json.loads(json.dumps(obj or {}))
    for key in ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"):
        obj.get("metadata", {}).pop(key, None)
    obj.pop("status", None)
    return obj


def names(spec):
    found = []
    for container in spec.get("initContainers", []) + spec.get("containers", []):
        for src in container.get("envFrom", []):
            for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                if key in src:
                    found.append((kind, src[key]["name"]))
        for env in container.get("env", []):
            for kind, key in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
                if key in env.get("valueFrom", {}):
                    found.append((kind, env["valueFrom"][key]["name"]))
    for vol in spec.get("volumes", []):
        if "configMap" in vol:
            found.append(("ConfigMap", vol["configMap"]["name"]))
        if "secret" in vol:
            found.append(("Secret", vol["secret"]["secretName"]))
    return sorted(set(found))


def ready(obj):
    st, sp = obj.get("status", {}), obj.get("spec", {})
    fresh = st.get("observedGeneration", 0) >= obj["metadata"].get("generation", 0)
    n = sp.get("replicas", 1)
    if obj["kind"] == "Deployment":
        return fresh and st.get("updatedReplicas", 0) >= n and st.get("availableReplicas", 0) >= n and st.get("replicas", 0) == n
    if obj["kind"] == "StatefulSet":
        return fresh and st.get("readyReplicas", 0) >= n and st.get("updatedReplicas", 0) >= n
    if obj["kind"] == "DaemonSet":
        return fresh and st.get("numberReady", 0) >= st.get("desiredNumberScheduled", 0)
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            **KUBE_ARGS,
            "definitions": {"type": "list", "elements": "dict", "required": True},
            "state": {"default": "present", "choices": ["present", "absent"]},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 300},
            "field_manager": {"default": "celeryops"},
            "force_conflicts": {"type": "bool", "default": False},
            "config_rollout": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    p = module.params
    out, changed, diff = [], False, []
    try:
        api = connect(p)
        objs = sorted(p["definitions"], key=lambda o: ORDER.index(o["kind"]) if o["kind"] in ORDER else 99)
        if p["state"] == "absent":
            for o in reversed(objs):
                gone = api.delete(ObjectRef.of(o), dry_run=module.check_mode)
                changed |= gone
                out.append({"kind": o["kind"], "name": o["metadata"]["name"], "action": "deleted" if gone else "absent"})
            module.exit_json(changed=changed, objects=out)
        for o in objs:
            ref = ObjectRef.of(o)
            template = o.get("spec", {}).get("template") if o["kind"] in ("Deployment", "StatefulSet", "DaemonSet") else None
            if template and p["config_rollout"]:
                h = hashlib.sha256()
                for kind, name in names(template["spec"]):
                    live = api.get(ObjectRef("v1", kind, name, ref.namespace)) or {}
                    h.update(json.dumps([kind, name, live.get("data"), kind == "Secret" and live.get("metadata", {}).get("uid")], sort_keys=True).encode())
                template.setdefault("metadata", {}).setdefault("annotations", {})["celeryops.platform/config-hash"] = h.hexdigest()[:16]
            live = api.get(ref)
            action = "unchanged"
            try:
                wanted = api.apply(o, field_manager=p["field_manager"], force=p["force_conflicts"] or True, dry_run=True)
            except KubeError as e:
                if not (module.check_mode and e.status == 404):
                    raise
                wanted = o
            if live is None or stripped(live) != stripped(wanted):
                action = "created" if live is None else "configured"
                changed = True
                if o["kind"] != "Secret":
                    diff.append({"before": stripped(live) if live else {}, "after": stripped(wanted), "before_header": str(ref), "after_header": str(ref)})
                if not module.check_mode:
                    api.apply(o, field_manager=p["field_manager"], force=True)
            out.append({"kind": ref.kind, "namespace": ref.namespace, "name": ref.name, "action": action})
        if p["wait"] and not module.check_mode:
            deadline = time.monotonic() + p["wait_timeout"]
            for o in objs:
                while not ready(api.get(ObjectRef.of(o))):
                    if time.monotonic() > deadline:
                        raise CeleryOpsError(f"{ObjectRef.of(o)} is not ready in time")
                    time.sleep(0.5)
    except CeleryOpsError as e:
        module.fail_json(msg=str(e), changed=changed, objects=out)
    module.exit_json(changed=changed, objects=out, diff=diff)


if __name__ == "__main__":
    main()
