#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight_info
short_description: Everything that would make a run fail, in one list
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Reads facts about the machine it runs on, and about a cluster that is there already, and holds them against what is
    needed. Every option is one check; what is not given is not checked.
  - Each finding says what was expected, what was found and what to do. Nothing is changed.
options:
  platform:
    description: Name of the platform. What role local_nodes made for it is no obstacle to it.
    type: str
    default: local
  root:
    description: Whether root is needed, or a way to become root without being asked.
    type: bool
    default: false
  become_password:
    description: Whether Ansible has a password to become root with.
    type: bool
    default: false
  systems:
    description: Supported systems, an ID of os-release with its versions.
    type: dict
    default: {}
  disk:
    description: Free space.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Where it is needed; it does not have to exist.
        type: path
        required: true
      free:
        description: How much, such as 20Gi.
        type: str
        required: true
      purpose:
        description: What for.
        type: str
        required: true
  memory:
    description: Memory of the machine, such as 6Gi. Added to what I(workloads) request on I(nodes).
    type: str
  kernel:
    description: Minimums of kernel settings, which count where they can neither be met nor be raised.
    type: dict
    default: {}
  containers:
    description: Names of podman containers that the platform will make.
    type: list
    elements: str
    default: []
  networks:
    description: Names of podman networks that the platform will make.
    type: list
    elements: str
    default: []
  subnets:
    description: IPv4 ranges that must be apart from each other and unused.
    type: list
    elements: dict
    default: []
    suboptions:
      variable:
        description: The variable that holds it, which the finding names.
        type: str
        required: true
      subnet:
        description: The range.
        type: str
        required: true
  pod_subnet:
    description: The pods' range, whose packets no NAT rule of the machine may rewrite.
    type: str
  ports:
    description: TCP ports of the machine that must be free.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: The port.
        type: int
        required: true
      purpose:
        description: What for.
        type: str
        required: true
  nodes:
    description: Nodes that will run on this machine. Each counts all of its cores, and they share its memory.
    type: list
    elements: str
    default: []
  workloads:
    description: Pods that have to find a place on I(nodes), or on the nodes of the cluster that I(kubeconfig) names.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What they are called in the finding.
        type: str
        required: true
      replicas:
        description: How many.
        type: raw
        required: true
      surge:
        description: How many more while they are rolled.
        type: int
        default: 0
      resources:
        description: Resources in Kubernetes' form, of which C(requests) count.
        type: raw
        required: true
  building:
    description: What has to be built. Where there is something, the registries have to answer.
    type: list
    elements: str
    default: []
  python:
    description: Python whose pip asks the Python package index.
    type: path
    default: python3
  existing:
    description: Whether I(kubeconfig) names a cluster that has to be there already.
    type: bool
    default: false
  namespace:
    description: The platform's namespace. What runs in it now does not count against the room for I(workloads).
    type: str
    default: jewelry-shop
  storage_class:
    description: StorageClass that the cluster has to have; empty for a default one.
    type: str
    default: ""
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.read_only
"""

EXAMPLES = r"""
- name: See whether two nodes with four workers fit on this machine
  celeryops.platform.preflight_info:
    root: true
    systems: {debian: ["12", "13"]}
    disk:
      - {path: /var/lib/containers, free: 10Gi, purpose: images and volumes}
    nodes: [cp-1, worker-1]
    workloads:
      - name: celery-worker
        replicas: 4
        surge: 1
        resources: {requests: {cpu: 400m, memory: 512Mi}}
  register: preflight
"""

RETURN = r"""
findings:
  description: What would make a run fail. Empty when nothing would.
  returned: success
  type: list
  elements: dict
  sample:
    - check: disk
      expected: 20.0 GiB free at /home/ops/.cache/celeryops for building
      found: 3.1 GiB
      remedy: Make room there, or move it.
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._preflight.engine import findings

TEXT = {"type": "str", "required": True}
SPEC = {
    **KUBE_ARGS,
    "platform": {"type": "str", "default": "local"},
    "root": {"type": "bool", "default": False},
    "become_password": {"type": "bool", "default": False, "no_log": False},
    "systems": {"type": "dict", "default": {}},
    "disk": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"path": {"type": "path", "required": True}, "free": TEXT, "purpose": TEXT},
    },
    "memory": {"type": "str"},
    "kernel": {"type": "dict", "default": {}},
    "containers": {"type": "list", "elements": "str", "default": []},
    "networks": {"type": "list", "elements": "str", "default": []},
    "subnets": {"type": "list", "elements": "dict", "default": [], "options": {"variable": TEXT, "subnet": TEXT}},
    "pod_subnet": {"type": "str"},
    "ports": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"port": {"type": "int", "required": True}, "purpose": TEXT},
    },
    "nodes": {"type": "list", "elements": "str", "default": []},
    "workloads": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": TEXT,
            "replicas": {"type": "raw", "required": True},
            "surge": {"type": "int", "default": 0},
            "resources": {"type": "raw", "required": True},
        },
    },
    "building": {"type": "list", "elements": "str", "default": []},
    "python": {"type": "path", "default": "python3"},
    "existing": {"type": "bool", "default": False},
    "namespace": {"type": "str", "default": "jewelry-shop"},
    "storage_class": {"type": "str", "default": ""},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    try:
        found = findings(module.params)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, findings=[finding.as_dict() for finding in found])


if __name__ == "__main__":
    main()
