#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make secret values in the cluster and keep them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: generated_secret
short_description: Make secret values in the cluster and keep them
description: [Creates Secrets with random values and never changes a value that is there.]
extends_documentation_fragment: [celeryops.platform.kube]
options:
  namespace: {description: Where., type: str, required: true}
  secrets: {description: "[{name, labels, type, data: {key: {value | length, charset}}}]", type: list, elements: dict, required: true}
author: [The celeryops maintainers (@celeryops)]
"""
EXAMPLES = r""""""
RETURN = r""""""

import base64
import secrets as rnd
import string

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef, connect


def make(spec):
    if spec.get("value") is not None:
        return spec["value"]
    charset, length = spec.get("charset", "alphanumeric"), int(spec.get("length") or 32)
    if charset == "fernet":
        return base64.urlsafe_b64encode(rnd.token_bytes(32)).decode()
    if charset == "hex":
        return rnd.token_hex(length)[:length]
    return "".join(rnd.choice(string.ascii_letters + string.digits) for _ in range(length))


def main():
    module = AnsibleModule(
        argument_spec={**KUBE_ARGS, "namespace": {"required": True}, "secrets": {"type": "list", "elements": "dict", "required": True, "no_log": False}},
        supports_check_mode=True,
    )
    out, changed = [], False
    try:
        api = connect(module.params)
        for s in module.params["secrets"]:
            ref = ObjectRef("v1", "Secret", s["name"], module.params["namespace"])
            live = api.get(ref)
            have = (live or {}).get("data") or {}
            missing = [k for k in s["data"] if k not in have]
            if missing or live is None:
                changed = True
                if not module.check_mode:
                    api.apply({"apiVersion": "v1", "kind": "Secret", "type": s.get("type", "Opaque"),
                               "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": s.get("labels", {})},
                               "data": {k: have.get(k) or base64.b64encode(make(v).encode()).decode() for k, v in s["data"].items()}},
                              field_manager="celeryops", force=True)
            out.append({"name": ref.name, "generated": missing})
    except CeleryOpsError as e:
        module.fail_json(msg=str(e), secrets=out)
    module.exit_json(changed=changed, secrets=out)


if __name__ == "__main__":
    main()
