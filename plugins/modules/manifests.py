#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Apply a set of Kubernetes objects with one call
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Brings a set of objects to what their definitions say, by server-side apply. The live objects are read with one
    request per kind and namespace and compared; only those that differ are written.
  - Objects are applied in the order in which they need each other (namespaces, policies, access, configuration,
    storage, services, workloads, the rest), then all are waited for at once.
  - Before a workload is applied, the API server is asked in a dry run whether it would take a pod of its template. What
    a LimitRange, a quota, Pod Security or a missing service account would refuse later, in silence, fails the task now,
    with the server's own words.
  - A field that a single write has changed since (C(kubectl edit), C(kubectl patch)) is put right, and the result names
    who wrote it. A field that somebody else applies, or that a controller holds, is a conflict; see O(force_conflicts).
extends_documentation_fragment:
  - celeryops.platform.kube
options:
  definitions:
    description:
      - The objects. Empty documents are ignored, and a C(List) stands for its items.
      - C(stringData) of a Secret is encoded into C(data).
      - High verbosity shows options. Values that nobody should see are better made by
        M(celeryops.platform.generated_secret), or the task is given C(no_log).
    type: list
    elements: raw
  src:
    description:
      - YAML files with objects. May stand beside the others.
      - On a local connection, as usual for this module, they are looked for on the controller, in C(files) of the role
        or beside the playbook, and may be encrypted with Ansible Vault; on any other connection they are files of the
        machine that the module runs on.
    type: list
    elements: path
  template:
    description:
      - Jinja templates of YAML documents, or folders of such (files that end in C(.yml), C(.yaml), C(.yml.j2) or
        C(.yaml.j2), in the order of their names). May stand beside the others.
      - They are rendered on the controller, where they are looked for as M(ansible.builtin.template) does it, in
        C(templates) of the role or beside the playbook. C(trim_blocks) is on, and the first line of a template may
        say otherwise, as in C(#jinja2:lstrip_blocks:True).
    type: list
    elements: path
  namespace:
    description: Namespace of those objects that need one and do not name theirs.
    type: str
  state:
    description: Whether the objects exist. With V(absent) they are deleted in the reverse order.
    type: str
    choices: [present, absent]
    default: present
  wait:
    description:
      - Wait until Deployments, StatefulSets and DaemonSets are rolled out, Jobs complete, PersistentVolumeClaims bound
        (unless their class waits for a pod), CustomResourceDefinitions established, namespaces active,
        PodDisruptionBudgets seen by their controller, and until Services whose pods come from the same set have an
        endpoint; with O(state=absent) until the objects are gone.
      - Waiting stops early, with reason, events and log lines, on what does not heal by itself, such as an image that
        cannot be pulled or a container that ends again and again.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for all objects together.
    type: float
    default: 300
  field_manager:
    description: The name under which the API server records which fields are ours.
    type: str
    default: celeryops
  force_conflicts:
    description: Take over fields that another manager applies or a controller holds, instead of failing.
    type: bool
    default: false
  config_rollout:
    description:
      - Note in the pod templates of Deployments, StatefulSets and DaemonSets, as the annotation
        C(celeryops.platform/config-hash), a hash of the ConfigMap and Secret data that the pods read. A change of that
        data rolls these pods, and only these.
    type: bool
    default: true
  apply_set:
    description:
      - Remember the set and delete what has left it, as C(kubectl apply --prune --applyset) does and in the same form.
        A parent object notes where members are, and members carry the label C(applyset.kubernetes.io/part-of).
      - What carries the set's label and is not among the definitions is deleted, in the reverse order, after everything
        else is applied; with O(state=absent) all members and the parent are.
      - A Namespace or PersistentVolumeClaim that left the set is kept, unless O(apply_set.prune_also) names it.
      - Objects that a controller owns are never deleted, nor is a set emptied for lack of definitions.
    type: dict
    suboptions:
      name:
        description: Name of the parent object.
        type: str
        required: true
      namespace:
        description: Namespace of the parent object; by default O(namespace).
        type: str
      kind:
        description: Kind of the parent object. C(kubectl --applyset=configmaps/NAME) refers to the same set.
        type: str
        choices: [ConfigMap, Secret]
        default: ConfigMap
      tooling:
        description:
          - Whom the set belongs to, as a tool's name, a slash and a version. A parent that another tool made is
            refused, as other tools refuse ours.
          - With V(kubectl/v1) the set is shared with kubectl.
        type: str
        default: celeryops/v1
      prune_also:
        description:
          - Namespaces and claims that are deleted when they leave the set, as V(Namespace NAME) and
            V(PersistentVolumeClaim NAMESPACE/NAME).
        type: list
        elements: str
        default: []
attributes:
  check_mode:
    description:
      - The API server is asked in dry runs of exactly what would be applied. What it cannot tell yet, because a
        namespace, a kind or the whole cluster does not exist, is planned on the client and marked so.
    support: full
  diff_mode:
    description: YAML of the objects before and after, without the values of Secrets.
    support: full
  idempotent:
    description: A second run writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Apply a namespace with its limits
  celeryops.platform.manifests:
    definitions:
      - apiVersion: v1
        kind: Namespace
        metadata:
          name: jewelry-shop
      - apiVersion: v1
        kind: LimitRange
        metadata:
          name: limits
          namespace: jewelry-shop
        spec:
          limits:
            - type: Container
              maxLimitRequestRatio: {cpu: 2, memory: 2}

- name: Apply what a template renders, and wait until it runs
  celeryops.platform.manifests:
    template: [worker.yml.j2]
    namespace: jewelry-shop
    wait_timeout: 600

- name: Apply the whole of an application, and delete what is not part of it any more
  celeryops.platform.manifests:
    src: [files/app.yml]
    namespace: jewelry-shop
    apply_set:
      name: app

- name: Remove the objects of a file
  celeryops.platform.manifests:
    src: [files/worker.yml]
    state: absent
"""

RETURN = r"""
objects:
  description:
    - An entry per object, in the order of work; also when the task fails in the middle. With O(apply_set) its parent is
      among them, and what has left the set.
  returned: always
  type: list
  elements: dict
  contains:
    api_version:
      description: Its apiVersion.
      type: str
    kind:
      description: Its kind.
      type: str
    namespace:
      description: Its namespace, or null.
      type: str
    name:
      description: Its name.
      type: str
    action:
      description:
        - One of V(created), V(configured), V(adopted), V(unchanged), V(deleted), V(absent), V(kept), V(failed),
          V(pending). In check mode what would be done.
        - V(adopted) means that only the record of whose fields are changed, such as fields that had the right values
          and are ours now; V(kept) that the object left its set and is not deleted unasked; V(failed) marks the object
          that ended the task, V(pending) those that were not reached.
      type: str
      sample: configured
    planned_on:
      description: V(client) where the API server could not be asked in check mode, V(server) otherwise.
      type: str
    generation:
      description: Its metadata.generation afterwards, where it has one.
      type: int
    drift:
      description: The writes by others that were put right, as C(manager) and C(field).
      type: list
      elements: dict
    diff:
      description: The fields that changed, as C(path), C(before) and C(after); values of Secrets are left out.
      type: list
      elements: dict
  sample:
    - api_version: v1
      kind: ConfigMap
      namespace: jewelry-shop
      name: app-config
      action: configured
      planned_on: server
      generation: null
      drift: [{manager: kubectl-edit, field: .data.SENTRY_DSN}]
      diff: [{path: data.SENTRY_DSN, before: changeme, after: ""}]
progress:
  description:
    - A line for each change of state of what was waited for; empty when nothing had to be waited for.
    - On a local connection the task shows each line when it comes, unless it runs C(async) or with C(no_log).
  returned: always
  type: list
  elements: str
  sample: ["Deployment jewelry-shop/celery-worker: 2 of 3 pods are available"]
error:
  description: What was expected, what was found and what to do, with the evidence.
  returned: failure
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.manifests import sync
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._progress import Reporter

ARGS: dict[str, Any] = {
    **KUBE_ARGS,
    "definitions": {"type": "list", "elements": "raw"},
    "src": {"type": "list", "elements": "path"},
    "template": {"type": "list", "elements": "path"},
    "namespace": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "wait": {"type": "bool", "default": True},
    "wait_timeout": {"type": "float", "default": 300.0},
    "field_manager": {"type": "str", "default": "celeryops"},
    "force_conflicts": {"type": "bool", "default": False},
    "config_rollout": {"type": "bool", "default": True},
    "apply_set": {
        "type": "dict",
        "options": {
            "name": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "kind": {"type": "str", "choices": ["ConfigMap", "Secret"], "default": "ConfigMap"},
            "tooling": {"type": "str", "default": "celeryops/v1"},
            "prune_also": {"type": "list", "elements": "str", "default": []},
        },
    },
}
REQUIRED_ONE_OF = [("definitions", "src", "template")]


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGS,
        required_one_of=REQUIRED_ONE_OF,
        supports_check_mode=True,
    )
    progress: list[str] = []
    run_module(
        module,
        lambda result: sync(module.params, result, Reporter(progress), check=module.check_mode, diff=module._diff),
        objects=[],
        progress=progress,
    )


if __name__ == "__main__":
    main()
