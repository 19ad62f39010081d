#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_cluster_info
short_description: Leader and members of a PostgreSQL cluster under Patroni, and what its clients get
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Reads what Patroni says about the cluster from the objects it keeps in the Kubernetes API.
  - For every endpoint, signs in from the leader's pod as a client does - through the Service, with the
    password out of a Secret - and commits a transaction that makes a temporary table and writes to it.
    A replica, and a pooler that leads to one, refuses that; nothing of it stays. An endpoint in front of
    replicas is read from, and must refuse writes.
options:
  namespace:
    description: Namespace of the cluster.
    type: str
    required: true
  name:
    description: Name of the cluster, which is that of its StatefulSet.
    type: str
    required: true
  endpoints:
    description: What is signed in to.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name of the Service, at port 5432.
        type: str
        required: true
      database:
        description: The database.
        type: str
        required: true
      user:
        description: The role that signs in.
        type: str
        required: true
      secret:
        description: Secret with the keys C(username), equal to I(user), and C(password).
        type: str
        required: true
      access:
        description: Whether the endpoint is to take writes, or reads only.
        type: str
        choices: [write, read]
        default: write
  wait:
    description:
      - Seconds for which an endpoint that does not answer as it should is asked again. A pooler goes on
        answering with its last failed sign-in for a second, and a new primary takes a few.
    type: int
    default: 0
  synchronous:
    description: Whether a replica is waited for, as long as O(wait) says, for which commits wait.
    type: bool
    default: false
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.read_only
seealso:
  - module: celeryops.platform.postgresql_cluster
"""

EXAMPLES = r"""
- name: Ask the cluster who leads and whether the shop's pooler takes writes
  celeryops.platform.postgresql_cluster_info:
    kubeconfig: ~/.kube/config
    namespace: jewelry-shop
    name: jewelry-shop-db
    endpoints:
      - host: jewelry-shop-db-pooler
        database: jewelry_shop
        user: jewelry_app
        secret: jewelry-app.jewelry-shop-db.credentials.postgresql.acid.zalan.do
  register: database
"""

RETURN = r"""
exists:
  description: Whether the cluster was applied.
  returned: success
  type: bool
leader:
  description: The pod that holds the lock, or null.
  returned: success
  type: str
  sample: jewelry-shop-db-0
members:
  description: The pods, as Patroni last described them.
  returned: success
  type: list
  elements: dict
  sample:
    - pod: jewelry-shop-db-0
      node: worker-1
      ready: true
      role: primary
      state: running
      timeline: 1
      pending_restart: false
      replication: ""
synchronous:
  description: The pods for which commits wait. Empty outside of synchronous mode, and while there is none.
  returned: success
  type: list
  elements: str
  sample: [jewelry-shop-db-1]
endpoints:
  description:
    - What each endpoint answered. C(error) is null where it answered at all, C(passed) true where it did as its
      C(access) says.
  returned: success
  type: list
  elements: dict
  sample:
    - host: jewelry-shop-db-pooler
      database: jewelry_shop
      user: jewelry_app
      access: write
      passed: true
      writable: true
      server: 10.42.1.7
      version: "15.20"
      error: null
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.inspect import describe


def main() -> None:
    text = {"type": "str", "required": True}
    access = {"type": "str", "choices": ["write", "read"], "default": "write"}
    endpoint = {"host": text, "database": text, "user": text, "secret": {**text, "no_log": False}, "access": access}
    module = AnsibleModule(
        argument_spec={
            **KUBE_ARGS,
            "namespace": text,
            "name": text,
            "endpoints": {"type": "list", "elements": "dict", "default": [], "options": endpoint},
            "wait": {"type": "int", "default": 0},
            "synchronous": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        cluster = PatroniCluster(connect(params), params["namespace"], params["name"])
        result = describe(cluster, params["endpoints"], wait=params["wait"], synchronous=params["synchronous"])
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
