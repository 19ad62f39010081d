#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refuses a certificate that clients of Redis would not accept."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_certificate_check
short_description: Refuse a certificate that clients of Redis would not accept
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Reads the Secret and makes a handshake for each name, within the module's own memory, as a client that verifies
    everything would make it with a server that has this certificate. OpenSSL itself so judges key, chain, time and
    names. Nothing of the private key is returned, logged or written to a disk.
  - A certificate that only clients with Python 3.13 or later would refuse, for these check extensions more strictly,
    is a warning.
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.read_only
options:
  namespace:
    description: Namespace of the Secret.
    type: str
    required: true
  secret:
    description: Secret with C(tls.crt), C(tls.key) and C(ca.crt), as cert-manager makes it.
    type: str
    required: true
  names:
    description: DNS names by which clients connect.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    description: Does the same. Where the namespace does not exist yet, nothing is checked.
    support: full
"""

EXAMPLES = r"""
- name: Refuse a certificate that workers would not accept
  celeryops.platform.redis_certificate_check:
    namespace: jewelry-shop
    secret: redis-tls
    names:
      - redis-master.jewelry-shop.svc.cluster.local
      - redis-0.redis-headless.jewelry-shop.svc.cluster.local
"""

RETURN = r"""
names:
  description: The DNS names that the certificate is for; empty where it could not be read or trusted.
  type: list
  elements: str
  returned: always
  sample: [redis-master.jewelry-shop.svc.cluster.local, "*.redis-headless.jewelry-shop.svc.cluster.local"]
expires:
  description: When it ends to be valid; empty where it could not be read or trusted.
  type: str
  returned: always
  sample: Dec  8 06:32:32 2027 GMT
unchecked:
  description: What could not be looked at, and why.
  type: list
  elements: str
  returned: always
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module
from ansible_collections.celeryops.platform.plugins.module_utils._redis.certificate_secret import check

ARGS = {
    "namespace": {"type": "str", "required": True},
    "secret": {"type": "str", "required": True, "no_log": False},
    "names": {"type": "list", "elements": "str", "required": True},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    run_module(
        module,
        lambda result: check(module.params, result, check_mode=module.check_mode, warn=module.warn),
        names=[],
        expires="",
        unchecked=[],
    )


if __name__ == "__main__":
    main()
