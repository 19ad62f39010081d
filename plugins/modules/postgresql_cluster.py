#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_cluster
short_description: What a PostgreSQL cluster under Patroni holds - roles, databases, settings
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Brings roles with passwords out of Secrets, databases with their owners, the lookup function of the pooler
    and Patroni's settings for the whole cluster to what is described. What is not described is left alone.
  - Works through the Kubernetes API alone, with C(psql) over the socket in the pod that holds Patroni's lock.
    Passwords are turned into SCRAM secrets on the controller, and compared with the stored ones, so that a
    changed Secret is noticed.
  - Waits for a leader first. Where PostgreSQL runs with other values of the shared parameters than the
    settings name, it is restarted in place, replicas first.
options:
  namespace:
    description: Namespace of the cluster.
    type: str
    required: true
  name:
    description: Name of the cluster, which is that of its StatefulSet.
    type: str
    required: true
  roles:
    description: Roles that sign in with a password.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The role.
        type: str
        required: true
      secret:
        description: Secret with the keys C(username), equal to I(name), and C(password).
        type: str
        required: true
      system:
        description:
          - Whether PostgreSQL or Patroni made the role. Then only its password is kept. The rights of every
            other role are kept at LOGIN and nothing else.
        type: bool
        default: false
  databases:
    description: Databases. Only the owner and superusers may connect to them.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The database.
        type: str
        required: true
      owner:
        description: Its owner, one of I(roles).
        type: str
        required: true
  pooler_role:
    description:
      - The role with which a pooler signs in to look up the others' SCRAM secrets. It gets the function
        C(pooler.user_lookup) in the database C(postgres), which does not show superusers.
    type: str
  configuration:
    description:
      - Patroni's dynamic configuration, merged into the stored one. A null takes a key away.
    type: dict
    default: {}
  ahead:
    description:
      - Whether this is ahead of a change of the objects. Passwords have to be those of the Secrets before pods start
        that sign in with them. A cluster that has no ready leader, or is not there, is left as it is;
        RV(complete) tells.
    type: bool
    default: false
  wait_timeout:
    description: Seconds to wait for a ready leader.
    type: int
    default: 60
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    support: full
    description: Returns the plan. Where there is no cluster yet, everything is planned.
  diff_mode:
    support: full
    description: Passwords and their secrets are left out.
  idempotent:
    support: full
    description: A second run changes nothing.
seealso:
  - module: celeryops.platform.postgresql_cluster_info
"""

EXAMPLES = r"""
- name: Give the shop its database
  celeryops.platform.postgresql_cluster:
    kubeconfig: ~/.kube/config
    namespace: jewelry-shop
    name: jewelry-shop-db
    roles:
      - {name: pooler, secret: pooler.jewelry-shop-db.credentials.postgresql.acid.zalan.do}
      - {name: jewelry_app, secret: jewelry-app.jewelry-shop-db.credentials.postgresql.acid.zalan.do}
    databases:
      - {name: jewelry_shop, owner: jewelry_app}
    pooler_role: pooler
    configuration: {postgresql: {parameters: {max_connections: 60}}}
"""

RETURN = r"""
leader:
  description: The pod that held the lock; null where there is no cluster yet.
  returned: always
  type: str
  sample: jewelry-shop-db-0
complete:
  description: Whether everything is as described. False on failure, and where O(ahead) left it for later.
  returned: always
  type: bool
changes:
  description: What was done, or would be, in order. On failure, what had been done before it.
  returned: always
  type: list
  elements: dict
  sample:
    - {kind: role, name: jewelry_app, action: password, detail: []}
    - {kind: database, name: jewelry_shop, action: created, detail: [owner jewelry_app]}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.converge import (
    Desired,
    Outcome,
    converge,
)
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.plan import Database


def main() -> None:
    text = {"type": "str", "required": True}
    role = {"name": text, "secret": {**text, "no_log": False}, "system": {"type": "bool", "default": False}}
    module = AnsibleModule(
        argument_spec={
            **KUBE_ARGS,
            "namespace": text,
            "name": text,
            "roles": {"type": "list", "elements": "dict", "default": [], "options": role},
            "databases": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {"name": text, "owner": text},
            },
            "pooler_role": {"type": "str"},
            "configuration": {"type": "dict", "default": {}},
            "ahead": {"type": "bool", "default": False},
            "wait_timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    params = module.params
    desired = Desired(
        roles=tuple((r["name"], r["secret"], r["system"]) for r in params["roles"]),
        databases=tuple(Database(d["name"], d["owner"]) for d in params["databases"]),
        pooler=params["pooler_role"],
        configuration=params["configuration"],
    )
    outcome = Outcome()
    try:
        cluster = PatroniCluster(connect(params), params["namespace"], params["name"])
        how = {"check": module.check_mode, "timeout": params["wait_timeout"], "ahead": params["ahead"]}
        converge(cluster, desired, outcome, **how)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **{**outcome.as_dict(), **error.details})
    module.exit_json(**outcome.as_dict())


if __name__ == "__main__":
    main()
