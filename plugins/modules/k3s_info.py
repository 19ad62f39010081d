#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: k3s_info
short_description: What there is of k3s on a host
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Looks at the program, the service, the files and the data of k3s on the host it runs on, and asks a server's own API
    server and etcd how they are. It needs nothing but Python and changes nothing.
  - It may wait until the service runs what is written, and is well.
options:
  role:
    description: What the host is to be.
    type: str
    choices: [server, agent]
    required: true
  token:
    description: The token that the cluster is to have. It is compared with the one that the host's server has, in
      either of a token's forms, and never returned.
    type: str
    default: ""
  images:
    description: Whether the archives of images on the host are hashed, which takes about a second.
    type: bool
    default: false
  wait:
    description: Wait until the service is active, was started after the last change of its files and, on a server, the
      API server and the etcd member are well. When that does not come, the module fails and says what is missing.
    type: bool
    default: false
  version:
    description: With I(wait), the version that a server's API server has to run.
    type: str
    default: ""
  timeout:
    description: Seconds to wait.
    type: int
    default: 300
extends_documentation_fragment:
  - celeryops.platform.read_only.waiting
"""

EXAMPLES = r"""
- name: Look at the host
  celeryops.platform.k3s_info:
    role: server
  register: k3s
"""

RETURN = r"""
manager:
  description: The init system, C(systemd) or C(openrc); empty when it is neither.
  returned: always
  type: str
  sample: systemd
architecture:
  description: The processor, by the name that releases give it.
  returned: always
  type: str
  sample: amd64
hostname:
  description: The host's name, which is the node's unless C(node-name) is set.
  returned: always
  type: str
  sample: server-1
installed_as:
  description: What the host is set up as.
  returned: always
  type: list
  elements: str
  sample: [server]
version:
  description: Version of the installed program.
  returned: always
  type: str
  sample: v1.33.4+k3s1
sha256:
  description: Hash of the installed program.
  returned: always
  type: str
  sample: 6b1d9f9f2e7b9f5a0f9a0c2cf6d4f4d4b2c9a5f1d8e7c6b5a4938271605f4e3d
images:
  description: Hashes of the archives of images, with I(images).
  returned: always
  type: dict
  sample: {}
service:
  description: The service for I(role), whether it is active and enabled, and its start in seconds since 1970.
  returned: always
  type: dict
  sample: {name: k3s, active: true, enabled: true, started: 1767225600.12}
outdated:
  description: Files that were written after the running service was started.
  returned: always
  type: list
  elements: str
  sample: [/etc/rancher/k3s/config.yaml]
initialised:
  description: Whether the host has a server's data.
  returned: always
  type: bool
  sample: true
joins:
  description: Whether the host's configuration names another server to join.
  returned: always
  type: bool
  sample: false
datastore:
  description: The datastore on this host, C(etcd) or C(sqlite); empty when there is none.
  returned: always
  type: str
  sample: etcd
ca:
  description: SHA-256 of the certificate authority of the cluster that the host is in. It is public.
  returned: always
  type: str
  sample: 5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8
token:
  description: C(matches) or C(differs); C(unknown) when there is nothing to compare.
  returned: always
  type: str
  sample: matches
managed:
  description: Files of the role that a later declaration may no longer want.
  returned: always
  type: list
  elements: str
  sample: [/etc/rancher/k3s/registries.yaml]
foreign_tools:
  description: Of kubectl, crictl and ctr, which k3s answers to, those that something else on the host has taken.
  returned: always
  type: list
  elements: str
  sample: [kubectl]
health:
  description: Of a server whose service is active, whether its API server is ready, the version that it runs, and
    whether its etcd member is healthy (null without embedded etcd).
  returned: always
  type: dict
  sample: {ready: true, version: v1.33.4+k3s1, etcd: true}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._k3s.host import Layout, survey
from ansible_collections.celeryops.platform.plugins.module_utils._k3s.wait import wait_for_service
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

SPEC = {
    "role": {"type": "str", "choices": ["server", "agent"], "required": True},
    "token": {"type": "str", "default": "", "no_log": True},
    "images": {"type": "bool", "default": False},
    "wait": {"type": "bool", "default": False},
    "version": {"type": "str", "default": ""},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    layout, role = Layout(), params["role"]
    look = {"token": params["token"], "images": params["images"]}

    def info(result: dict) -> None:
        if params["wait"] and not module.check_mode:
            wait = {"version": params["version"], "timeout": params["timeout"]}
            wait_for_service(layout, role, **look, **wait, result=result)
        else:
            result.update(survey(layout, role, **look))

    run_module(module, info)


if __name__ == "__main__":
    main()
