#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: existing_cluster_info
short_description: What an account may do in a cluster that is there, and the Role that it lacks
version_added: 0.2.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Asks the API server with SelfSubjectAccessReviews for every verb on every resource of I(rules), whatever decides
    there (RBAC, a webhook of a cloud). An account that may do everything is asked once.
  - What is denied comes back as rules and as a manifest that an administrator can apply.
options:
  namespace:
    description: Namespace of the platform.
    type: str
    required: true
  rules:
    description: What is needed.
    type: list
    elements: dict
    required: true
    suboptions:
      api_group:
        description: The API group; empty for the core group.
        type: str
        default: ""
      resources:
        description: Resources, or C(resource/subresource).
        type: list
        elements: str
        required: true
      verbs:
        description: Verbs.
        type: list
        elements: str
        required: true
      names:
        description: Names of the objects; by default all.
        type: list
        elements: str
        default: []
      cluster:
        description: Whether it is about the whole cluster instead of the namespace.
        type: bool
        default: false
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.read_only
"""

EXAMPLES = r"""
- name: See whether this account may run pods in the namespace
  celeryops.platform.existing_cluster_info:
    namespace: shop
    rules:
      - resources: [pods]
        verbs: [get, list, create, delete]
  register: shop_access
"""

RETURN = r"""
server:
  description: The address of the API server.
  returned: always
  type: str
  sample: https://10.0.0.1:6443
version:
  description: Its version.
  returned: always
  type: str
  sample: v1.34.1
user:
  description: Who the API server takes us for; empty before Kubernetes 1.28.
  returned: always
  type: str
  sample: system:serviceaccount:awx:runner
missing:
  description: What is denied of I(rules), as rules of a Role, with the key C(cluster).
  returned: always
  type: list
  elements: dict
  sample:
    - {apiGroups: [""], resources: [pods], verbs: [delete], cluster: false}
manifest:
  description: A Role or ClusterRole of these rules, with a binding to the user, as YAML; empty when nothing is missing.
  returned: always
  type: str
  sample: "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\n"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._cluster.access import Rule
from ansible_collections.celeryops.platform.plugins.module_utils._cluster.survey import survey
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import connect
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

STRINGS = {"type": "list", "elements": "str"}
SPEC = {
    **KUBE_ARGS,
    "namespace": {"type": "str", "required": True},
    "rules": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "api_group": {"type": "str", "default": ""},
            "resources": {**STRINGS, "required": True},
            "verbs": {**STRINGS, "required": True},
            "names": {**STRINGS, "default": []},
            "cluster": {"type": "bool", "default": False},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec=SPEC, supports_check_mode=True)
    params = module.params
    rules = [
        Rule(one["api_group"], tuple(one["resources"]), tuple(one["verbs"]), tuple(one["names"]), one["cluster"])
        for one in params["rules"]
    ]
    run_module(
        module,
        lambda result: survey(connect(params), rules, params["namespace"], result),
        server="",
        version="",
        user="",
        missing=[],
        manifest="",
    )


if __name__ == "__main__":
    main()
