#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_replica
short_description: Give a replica of a PostgreSQL cluster another volume where its own is lost
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - A volume that is a folder of a node does not move. When that node is gone for good, so is the replica on it, until
    its claim is deleted and made anew elsewhere. It is then copied from the primary.
  - A replica that streams is left alone. The primary is never touched, nor any instance while there is no primary.
options:
  namespace:
    description: Namespace of the cluster.
    type: str
    required: true
  name:
    description: Name of the cluster, which is that of its StatefulSet.
    type: str
    required: true
  pod:
    description: The replica's pod.
    type: str
    required: true
  force:
    description: Whether a replica that streams is copied anew as well.
    type: bool
    default: false
  wait_timeout:
    description: Seconds for the copy.
    type: int
    default: 600
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    support: full
    description: Tells whether the volume would be replaced.
  diff_mode:
    support: none
    description: There is nothing to compare.
  idempotent:
    support: full
    description: A second run finds a replica that streams. With O(force) it does not.
seealso:
  - module: celeryops.platform.postgresql_cluster_info
"""

EXAMPLES = r"""
- name: Bring back the replica that was on the node that burnt
  celeryops.platform.postgresql_replica:
    namespace: jewelry-shop
    name: jewelry-shop-db
    pod: jewelry-shop-db-2
"""

RETURN = r"""
before:
  description:
    - The replica as Patroni last described it, as in M(celeryops.platform.postgresql_cluster_info). Null without a pod.
  returned: always
  type: dict
after:
  description: The same at the end; null in check mode, and without a pod.
  returned: always
  type: dict
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.replica import renew

TEXT: dict[str, Any] = {"type": "str", "required": True}
ARGS: dict[str, Any] = {
    "namespace": TEXT,
    "name": TEXT,
    "pod": TEXT,
    "force": {"type": "bool", "default": False},
    "wait_timeout": {"type": "int", "default": 600},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    params = module.params

    def work(result: dict[str, Any]) -> None:
        cluster = PatroniCluster(connect(params), params["namespace"], params["name"])
        how = {"force": params["force"], "check": module.check_mode, "timeout": params["wait_timeout"]}
        renew(cluster, params["pod"], result, **how)

    run_module(module, work, before=None, after=None)


if __name__ == "__main__":
    main()
