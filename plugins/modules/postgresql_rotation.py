#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_rotation
short_description: New credentials for roles of a PostgreSQL cluster, while the old ones still work
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - A role of PostgreSQL has one password, so a second role C(<role>_alt) stands for it in turn. Whoever signs in as one
    or the other acts as the role itself, which owns what is made. The Secret names the user who signs in now.
  - The new user can sign in before the Secret names it, and the old one for O(grace) seconds more. Pods that read
    the Secret are to be rolled meanwhile, as M(celeryops.platform.manifests) does by itself.
  - A system role (C(postgres), Patroni's C(standby)) keeps its name and has its password changed. What is
    connected stays connected; the pods of the cluster are to be rolled at once.
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
    description: Roles whose credentials are rotated.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The role.
        type: str
        required: true
      secret:
        description: Secret with the keys C(username), which is the role or C(<role>_alt), and C(password).
        type: str
        required: true
      system:
        description: Whether PostgreSQL or Patroni knows the role by its name.
        type: bool
        default: false
  older_than:
    description: Days. Credentials that are younger are left as they are. 0 rotates always.
    type: float
    default: 0
  grace:
    description: Seconds for which the old user may still sign in. All pods have to be rolled within.
    type: int
    default: 3600
  wait_timeout:
    description: Seconds to wait for a ready leader.
    type: int
    default: 60
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    support: full
    description: Tells which roles would be rotated.
  diff_mode:
    support: none
    description: There is nothing to show but secrets.
  idempotent:
    support: partial
    description: With O(older_than) a second run finds young credentials. Without, each run rotates.
seealso:
  - module: celeryops.platform.postgresql_cluster
"""

EXAMPLES = r"""
- name: Rotate what is older than a quarter
  celeryops.platform.postgresql_rotation:
    namespace: jewelry-shop
    name: jewelry-shop-db
    older_than: 90
    roles:
      - {name: pooler, secret: pooler.jewelry-shop-db.credentials.postgresql.acid.zalan.do}
      - {name: jewelry_app, secret: jewelry-app.jewelry-shop-db.credentials.postgresql.acid.zalan.do}
"""

RETURN = r"""
rotated:
  description: The roles with new credentials, in order, and who signs in for each. On failure, those before it.
  returned: always
  type: list
  elements: dict
  sample:
    - {role: jewelry_app, before: jewelry_app, after: jewelry_app_alt}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.cluster import PatroniCluster
from ansible_collections.celeryops.platform.plugins.module_utils._postgres.rotation import Target, rotate

TEXT: dict[str, Any] = {"type": "str", "required": True}
ROLE: dict[str, Any] = {
    "name": TEXT,
    "secret": {**TEXT, "no_log": False},
    "system": {"type": "bool", "default": False},
}
ARGS: dict[str, Any] = {
    "namespace": TEXT,
    "name": TEXT,
    "roles": {"type": "list", "elements": "dict", "required": True, "options": ROLE},
    "older_than": {"type": "float", "default": 0},
    "grace": {"type": "int", "default": 3600},
    "wait_timeout": {"type": "int", "default": 60},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    params = module.params

    def work(result: dict[str, Any]) -> None:
        rotate(
            PatroniCluster(connect(params), params["namespace"], params["name"]),
            [Target(role["name"], role["secret"], role["system"]) for role in params["roles"]],
            result,
            grace=params["grace"],
            older_than=params["older_than"],
            check=module.check_mode,
            timeout=params["wait_timeout"],
        )

    run_module(module, work, rotated=[])


if __name__ == "__main__":
    main()
