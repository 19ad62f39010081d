#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: local_nodes
short_description: Machines of a development cluster, as podman containers with systemd
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Makes one podman container with systemd and an SSH server for every declared node, on an internal network
    of their own, and gives the host an address on it. From then on a node is reached over SSH as any host is.
  - Everything made carries the label C(celeryops.platform=<platform>), so that I(state=absent) removes
    exactly that.
  - A stopped node is started again. A node whose declared settings differ from those it was made with is
    reported, or, with I(recreate=true), made anew.
options:
  platform:
    description: Name of the platform that the nodes belong to. Several stand side by side on one host.
    type: str
    required: true
  state:
    description: Whether the nodes, their network and their volumes exist.
    type: str
    choices: [present, absent]
    default: present
  nodes:
    description: The nodes.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Host name of the node.
        type: str
        required: true
      address:
        description: Its static address, inside I(subnet).
        type: str
        required: true
  image:
    description: The image of the nodes. Nothing is pulled. Needed to make nodes.
    type: str
  archive:
    description: Archive to load the image from where podman's storage lacks it.
    type: path
  network:
    description: Name of the podman network. Needed to make nodes.
    type: str
  subnet:
    description: Its IPv4 subnet. The first address is the host's. Needed to make nodes.
    type: str
  prefix:
    description: What the names of containers and volumes begin with; by default the platform's name and a
      dash.
    type: str
  volumes:
    description: Directories of a node that live on a volume instead of the container's own layer.
    type: list
    elements: str
    default: []
  mounts:
    description: Directories of the host that the nodes see.
    type: list
    elements: dict
    default: []
    suboptions:
      source:
        description: Directory of the host.
        type: path
        required: true
      target:
        description: Where the nodes see it; by default under the same path.
        type: path
      read_only:
        description: Whether the nodes may only read it.
        type: bool
        default: true
  runtime:
    description: The OCI runtime.
    type: str
    default: runc
  ulimits:
    description: Resource limits as podman's C(--ulimit) takes them.
    type: list
    elements: str
    default: []
  authorized_key:
    description: The public SSH key that may log in as root, as one line. Needed to make nodes.
    type: str
  kernel_minimums:
    description: Kernel settings of the host that are raised where they are lower, such as
      C(fs.inotify.max_user_instances).
    type: dict
    default: {}
  recreate:
    description: Make a node anew, with its volumes, when its settings differ. All that it held is lost.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for a node's SSH server.
    type: int
    default: 60
attributes:
  check_mode:
    description: Returns the steps that would be taken.
    support: full
  diff_mode:
    description: The steps.
    support: full
  idempotent:
    description: A second run takes no step.
    support: full
"""

EXAMPLES = r"""
- name: Two nodes on a network of their own
  celeryops.platform.local_nodes:
    platform: lab
    image: localhost/celeryops/node:v1
    network: celeryops-lab
    subnet: 10.89.70.0/24
    authorized_key: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    volumes: [/var/lib/containerd]
    nodes:
      - name: cp-1
        address: 10.89.70.11
      - name: worker-1
        address: 10.89.70.21
  register: lab

- name: And away with them
  celeryops.platform.local_nodes:
    platform: lab
    state: absent
"""

RETURN = r"""
actions:
  description: The steps taken, or, in check mode, that would be; after a failure those that were.
  returned: always
  type: list
  elements: str
  sample: [create network celeryops-lab, create container lab-cp-1, start container lab-cp-1]
nodes:
  description: How each node is reached. C(host_key) is empty for a node that does not exist yet.
  returned: always
  type: list
  elements: dict
  sample:
    - name: cp-1
      address: 10.89.70.11
      container: lab-cp-1
      host_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExample
strays:
  description: Containers of the platform that no node declares any more. They are left alone.
  returned: always
  type: list
  elements: str
  sample: [lab-worker-9]
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.engine import (
    Result,
    absent,
    present,
)
from ansible_collections.celeryops.platform.plugins.module_utils._local_nodes.plan import (
    Mount,
    Network,
    Node,
    Platform,
)

SPEC = {
    "platform": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "nodes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "address": {"type": "str", "required": True}},
    },
    "image": {"type": "str"},
    "archive": {"type": "path"},
    "network": {"type": "str"},
    "subnet": {"type": "str"},
    "prefix": {"type": "str"},
    "volumes": {"type": "list", "elements": "str", "default": []},
    "mounts": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "source": {"type": "path", "required": True},
            "target": {"type": "path"},
            "read_only": {"type": "bool", "default": True},
        },
    },
    "runtime": {"type": "str", "default": "runc"},
    "ulimits": {"type": "list", "elements": "str", "default": []},
    "authorized_key": {"type": "str", "no_log": False},
    "kernel_minimums": {"type": "dict", "default": {}},
    "recreate": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
}


def declared(params: dict) -> Platform:
    return Platform(
        name=params["platform"],
        network=Network(params["network"], params["subnet"]),
        image=params["image"],
        nodes=tuple(Node(n["name"], n["address"]) for n in params["nodes"]),
        prefix=f"{params['platform']}-" if params["prefix"] is None else params["prefix"],
        volumes=tuple(params["volumes"]),
        mounts=tuple(Mount(m["source"], m["target"] or m["source"], m["read_only"]) for m in params["mounts"]),
        runtime=params["runtime"],
        ulimits=tuple(params["ulimits"]),
        archive=params["archive"] or "",
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec=SPEC,
        required_if=[("state", "present", ("image", "network", "subnet", "authorized_key"))],
        supports_check_mode=True,
    )
    result = Result()
    try:
        if module.params["state"] == "absent":
            absent(module.params["platform"], check=module.check_mode, result=result)
        else:
            present(
                declared(module.params),
                key=module.params["authorized_key"],
                minimums={name: int(value) for name, value in module.params["kernel_minimums"].items()},
                recreate=module.params["recreate"],
                timeout=module.params["timeout"],
                check=module.check_mode,
                result=result,
            )
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **result.dump())
    for stray in result.strays:
        module.warn(f"Container {stray} belongs to platform {module.params['platform']}, but no node declares it.")
    module.exit_json(**result.dump())


if __name__ == "__main__":
    main()
