#!/usr/bin/python
# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: generated_secret
short_description: Secret values that are made in the cluster once and kept
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Makes the values of Secrets from the operating system's random source and writes them into the cluster, the only
    place that ever holds them.
  - A value that is there is never changed. Missing keys are added, keys that are not declared are left alone. When two
    runs make the same key at once, both end with the value of the first.
  - A value that is too short for its declaration is reported, not replaced; what uses it has to change first.
extends_documentation_fragment:
  - celeryops.platform.kube
options:
  namespace:
    description: Namespace of the Secrets.
    type: str
    required: true
  secrets:
    description: The Secrets. All of them are checked before any is written.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the Secret.
        type: str
        required: true
      type:
        description: Type of the Secret. It cannot be changed later.
        type: str
        default: Opaque
      labels:
        description: Labels. Others on the Secret are left alone.
        type: dict
        default: {}
      annotations:
        description: Annotations. Others on the Secret are left alone.
        type: dict
        default: {}
      data:
        description:
          - Keys, each with its options as a mapping; an empty one stands for the defaults.
          - C(length) is the number of characters, 32 by default.
          - C(charset) is one of C(alphanumeric) (the default), C(hex), C(urlsafe), or C(fernet) for a key of the cipher
            of that name, whose length is given.
          - C(min_length) is the least number of characters that a value which is there must have, 1 by default.
          - C(value) stands instead of these for what is no secret, such as the name of a user. It is shown by high
            verbosity, as every option is. C(accepted) lists further values that are left as they are.
        type: dict
        required: true
attributes:
  check_mode:
    description:
      - The API server is asked in a dry run. Where the namespace or the cluster does not exist yet, all Secrets would
        be created.
    support: full
  diff_mode:
    description: Names of keys, labels and annotations. Values are never shown.
    support: full
  idempotent:
    description: A second run finds all keys and writes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Keep the keys of the application
  celeryops.platform.generated_secret:
    namespace: jewelry-shop
    secrets:
      - name: app-secrets
        labels:
          app.kubernetes.io/part-of: jewelry-shop
        data:
          DJANGO_SECRET_KEY: {length: 64, charset: urlsafe, min_length: 50}
          FIELD_ENCRYPTION_KEY: {charset: fernet}

- name: Keep the credentials of a database user
  celeryops.platform.generated_secret:
    namespace: jewelry-shop
    secrets:
      - name: jewelry-app.jewelry-shop-db.credentials.postgresql.acid.zalan.do
        data:
          username: {value: jewelry_app}
          password: {}
"""

RETURN = r"""
secrets:
  description: An entry per Secret, without values; also when the task fails in the middle.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Its namespace.
      type: str
    name:
      description: Its name.
      type: str
    action:
      description:
        - One of V(created), V(configured), V(unchanged), V(failed), or V(pending) for one that was not reached. In
          check mode what would be done.
      type: str
    declared:
      description: Names of the declared keys.
      type: list
      elements: str
    generated:
      description: Names of those keys that were missing and have been added.
      type: list
      elements: str
  sample:
    - namespace: jewelry-shop
      name: app-secrets
      action: created
      declared: [DJANGO_SECRET_KEY, FIELD_ENCRYPTION_KEY]
      generated: [DJANGO_SECRET_KEY, FIELD_ENCRYPTION_KEY]
error:
  description: What was expected, what was found and what to do.
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._secrets.keep import sync

ARGS = {
    "namespace": {"type": "str", "required": True},
    "secrets": {
        "type": "list",
        "elements": "dict",
        "required": True,
        # These are declarations. Hiding what they hold would hide the names of users wherever they appear.
        "no_log": False,
        "options": {
            "name": {"type": "str", "required": True},
            "type": {"type": "str", "default": "Opaque"},
            "labels": {"type": "dict", "default": {}},
            "annotations": {"type": "dict", "default": {}},
            "data": {"type": "dict", "required": True},
        },
    },
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    run_module(
        module,
        lambda result: sync(module.params, result, check=module.check_mode, diff=module._diff),
        secrets=[],
    )


if __name__ == "__main__":
    main()
