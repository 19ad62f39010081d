#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running Redis servers accept the password of the Secret."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_password
short_description: Running Redis servers accept the password that the Secret holds now
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - A rolling update starts with a replica. After the password in the Secret was changed, the first pod to restart could
    neither follow the master nor become ready, because the master still has the password it started with, and the
    update would not go on.
  - This adds the Secret's password to every running server, which keeps accepting the one it started with until it
    restarts. Clients that still use the old password go on until then. Sentinels are told it too.
  - Uses the password in the pods' environment variable E(REDISCLI_AUTH), the one that the server was started with.
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.redis
attributes:
  check_mode:
    description: Tells which servers do not accept the password.
    support: full
  diff_mode:
    description: There is nothing that could be shown.
    support: none
  idempotent:
    description: Changed only when a server did not accept the password.
    support: full
"""

EXAMPLES = r"""
- name: Let running servers accept a changed password
  celeryops.platform.redis_password:
    namespace: jewelry-shop
"""

RETURN = r"""
tls:
  description: Whether the servers of the StatefulSet speak TLS; null where there is no such StatefulSet.
  type: bool
  returned: success
  sample: false
pods:
  description:
    - The running pods. C(password) is V(accepted) when it was already, V(added), or V(missing) in check mode.
    - Empty when there is no such StatefulSet.
  type: list
  elements: dict
  returned: success
  sample: [{name: redis-0, password: accepted}]
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import (
    KUBERNETES_IMPORT_ERROR,
    connect,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.argspec import REDIS_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._redis.password import introduce


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **REDIS_ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    try:
        result = introduce(connect(module.params), module.params, check_mode=module.check_mode)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
