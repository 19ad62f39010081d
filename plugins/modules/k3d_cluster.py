#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3d_cluster
short_description: A k3d cluster, compared with its declaration
version_added: 0.2.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Makes a cluster of k3s nodes in Docker containers with the program k3d, and compares one that is there with what is
    declared. Nodes that are missing are added, a cluster that is stopped is started, ports are published.
  - What cannot be changed in place (the version of k3s, its arguments, volumes, the registry, fewer nodes) is reported
    as I(drift), and nothing is changed; with I(recreate=true) the cluster is made anew.
  - A cluster of the same name that was made by other means differs in I(drift) C(declaration).
options:
  name:
    description: Name of the cluster. Its containers and its context begin with C(k3d-).
    type: str
    required: true
  state:
    description: Whether the cluster is there.
    type: str
    choices: [present, absent]
    default: present
  servers:
    description: Number of servers. More than one form an etcd of their own; one alone keeps a database that no other
      can join later.
    type: int
    default: 1
  agents:
    description: Number of agents.
    type: int
    default: 0
  image:
    description: Image of the nodes such as C(docker.io/rancher/k3s:v1.34.1-k3s1), whose tag is the version of k3s. By
      default the one that this k3d was released with, which is then not compared.
    type: str
    default: ""
  api_address:
    description: Address of this machine on which the Kubernetes API is published.
    type: str
    default: 127.0.0.1
  api_port:
    description: Its port; Docker chooses one when it is 0.
    type: int
    default: 0
  ports:
    description: Ports to publish.
    type: list
    elements: dict
    default: []
    suboptions:
      port:
        description: C([ADDRESS:][PORT OF THIS MACHINE:]PORT[/PROTOCOL]).
        type: str
        required: true
      node_filters:
        description: Nodes to publish it for, by k3d's node filters. A port for C(server:0:direct) passes the load
          balancer by, and cannot be added later.
        type: list
        elements: str
        default: [loadbalancer]
  volumes:
    description: Directories of this machine, or Docker volumes, in the nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      volume:
        description: C(SOURCE:DESTINATION), as Docker takes it.
        type: str
        required: true
      node_filters:
        description: Nodes that get it.
        type: list
        elements: str
        default: ["server:*", "agent:*"]
  k3s_args:
    description: Arguments of k3s.
    type: list
    elements: dict
    default: []
    suboptions:
      arg:
        description: The argument, such as C(--disable=traefik).
        type: str
        required: true
      node_filters:
        description: Nodes that get it.
        type: list
        elements: str
        default: ["server:*"]
  registry:
    description: A registry that is made and deleted with the cluster, and that its nodes know by its name.
    type: dict
    suboptions:
      name:
        description: Name of its container.
        type: str
        required: true
      address:
        description: Address of this machine on which it is published.
        type: str
        default: 127.0.0.1
      port:
        description: Port of this machine.
        type: int
        required: true
  registries:
    description: Registries of k3d that are there already and that the nodes use, as C(NAME:PORT).
    type: list
    elements: str
    default: []
  recreate:
    description: Delete a cluster that differs in what cannot be changed, and make it anew. All that it held is lost.
    type: bool
    default: false
  timeout:
    description: Seconds that one step may take.
    type: int
    default: 300
  k3d:
    description: The program k3d, version 5.
    type: path
    default: k3d
  docker:
    description: Docker's client.
    type: path
    default: docker
attributes:
  check_mode:
    support: full
    description: Returns the steps that would be taken.
  diff_mode:
    support: full
    description: The steps.
  idempotent:
    support: full
    description: A second run takes no step.
"""

EXAMPLES = r"""
- name: A server and two agents with an ingress on port 8080 and a registry
  celeryops.platform.k3d_cluster:
    name: dev
    agents: 2
    image: docker.io/rancher/k3s:v1.34.1-k3s1
    ports:
      - port: 8080:80
    registry:
      name: dev-registry
      port: 5000

- name: Away with it
  celeryops.platform.k3d_cluster:
    name: dev
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or, in check mode, that would be; after a failure those that were.
  returned: always
  type: list
  elements: str
  sample: [start cluster dev, add agent dev-agent-2]
drift:
  description: What differs and cannot be changed in place.
  returned: always
  type: list
  elements: dict
  sample:
    - setting: image
      current: docker.io/rancher/k3s:v1.33.5-k3s1
      wanted: docker.io/rancher/k3s:v1.34.1-k3s1
nodes:
  description: The containers of the cluster, as they were found before the first step.
  returned: always
  type: list
  elements: dict
  sample:
    - name: k3d-dev-server-0
      role: server
      running: true
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._k3d.argspec import K3D_CLUSTER_ARGS, declared
from ansible_collections.celeryops.platform.plugins.module_utils._k3d.engine import converge
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module


def main() -> None:
    module = AnsibleModule(argument_spec=K3D_CLUSTER_ARGS, supports_check_mode=True)
    wanted = declared(module.params)
    run_module(
        module,
        lambda result: converge(wanted, module.params, check=module.check_mode, result=result),
        actions=[],
        drift=[],
        nodes=[],
        diff={"before": "", "after": ""},
    )


if __name__ == "__main__":
    main()
