#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The broker and result URLs point at the writable Redis master."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_master
short_description: Broker and result URLs that point at the writable Redis master, with proof
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Owns the keys C(CELERY_BROKER_URL), C(CELERY_RESULT_BACKEND), C(REDIS_HOST) and C(REDIS_PORT) of a ConfigMap, alone,
    as field manager C(celeryops-redis-master). Other keys of it belong to whoever applied them.
  - Which URLs are right follows from O(mode). They hold no credentials.
  - Before and after, new connections are made to the name in the URL from inside the cluster. Each must reach the
    master, and must write a key that expires by itself, read it and delete it.
  - A URL that says anything else is corrected, also one that works at the moment; RV(problems) says what was wrong.
  - Refuses, and changes nothing, when no pod or more than one says that it is the master, when it refuses writes, when
    most Sentinels name another one, and in mode V(master) when the master is not the first pod. Which of two masters
    has the data that matters is for a person to say.
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.redis
  - celeryops.platform.redis.client
options:
  mode:
    description:
      - V(proxy) - the Service of the proxies, which lead to whichever pod is the master.
      - V(sentinel) - all Sentinels, as Celery's C(sentinel://) URLs name them. C(REDIS_HOST) and C(REDIS_PORT) are the
        Sentinels' as well, and C(REDIS_SENTINEL_MASTER) says what to ask them for.
      - V(master) - the first pod, by its stable name under the headless Service.
      - V(external) - O(external). C(REDIS_USERNAME) is set where it has a user of its own.
    type: str
    choices: [proxy, sentinel, master, external]
    default: proxy
  config_map:
    description: Name of the ConfigMap in the same namespace. It is created with these keys when it does not exist.
    type: str
    default: app-config
  database:
    description: Number of the Redis database for messages and results.
    type: int
    default: 0
  ca_file:
    description:
      - Where the application's pods find the certificate of the authority, for servers that speak TLS as those of role
        redis do with C(redis_tls_secret). It becomes part of the URL; O(external) has one of its own.
    type: str
    default: /etc/redis-tls/ca.crt
attributes:
  check_mode:
    description: >-
      Nothing is written, to the ConfigMap or to Redis. Whether a connection may write is then tested by deleting a
      random key that does not exist, which a full master allows though it would refuse a real write.
    support: full
  diff_mode:
    description: The keys before and after, without credentials.
    support: full
  idempotent:
    description: Changed only when a key had another value or was not held by this module.
    support: full
"""

EXAMPLES = r"""
- name: Let the workers find the writable master
  celeryops.platform.redis_master:
    namespace: jewelry-shop

- name: Let them use a Redis of one's own
  celeryops.platform.redis_master:
    namespace: jewelry-shop
    mode: external
    external:
      host: redis.example.com
      port: 6380
      tls: true
      username: shop
      image: registry.example.com/redis:7
    password_secret: {name: redis-of-ours, key: password}
"""

RETURN = r"""
urls:
  description: The keys as they are now, or would be in check mode; empty there when Redis does not exist yet.
  type: dict
  returned: success
  sample:
    REDIS_HOST: redis-master.jewelry-shop.svc.cluster.local
    REDIS_PORT: "6379"
    CELERY_BROKER_URL: redis://redis-master.jewelry-shop.svc.cluster.local:6379/0
    CELERY_RESULT_BACKEND: redis://redis-master.jewelry-shop.svc.cluster.local:6379/0
problems:
  description: What was wrong with each key, why that matters, and who had written it.
  type: list
  elements: str
  returned: success
  sample:
    - "CELERY_BROKER_URL was redis://redis:6379/0: it balances: 8 of 12 new connections reached a replica
       (READONLY You can't write against a read only replica.) (written by kubectl-patch)"
master:
  description: The pod that is the master, and its stable name.
  type: dict
  returned: success
  sample: {pod: redis-0, host: redis-0.redis-headless.jewelry-shop.svc.cluster.local}
verdict:
  description: As M(celeryops.platform.redis_master_info) gives it, or V(external).
  type: str
  returned: success
  sample: healthy
disagreements:
  description: As M(celeryops.platform.redis_master_info) gives them. They do not keep the URLs from being right.
  type: list
  elements: str
  returned: success
  sample: []
evidence:
  description: What new connections to each URL got. C(proof) is V(write) or V(look).
  type: list
  elements: dict
  returned: success
  sample:
    - {url: "redis://redis-master.jewelry-shop.svc.cluster.local:6379/0", when: after, proof: write,
       connections: 12, answers: {master: 12, replica: 0, none: 0}, pods: {redis-0: 12}, writable: true, errors: []}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import (
    KUBERNETES_IMPORT_ERROR,
    connect,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.argspec import CLIENT_ARGS, REDIS_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._redis.goal import CA_FILE, MODES
from ansible_collections.celeryops.platform.plugins.module_utils._redis.owner import settle
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import REDIS_IMPORT_ERROR

ARGS = {
    "mode": {"type": "str", "choices": list(MODES), "default": "proxy"},
    "config_map": {"type": "str", "default": "app-config"},
    "database": {"type": "int", "default": 0},
    "ca_file": {"type": "str", "default": CA_FILE},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec={**KUBE_ARGS, **REDIS_ARGS, **CLIENT_ARGS, **ARGS},
        required_if=[("mode", "external", ("external",))],
        supports_check_mode=True,
    )
    for library, problem in (("kubernetes", KUBERNETES_IMPORT_ERROR), ("redis", REDIS_IMPORT_ERROR)):
        if problem:
            module.fail_json(msg=missing_required_lib(library), exception=problem)
    try:
        result = settle(connect(module.params), module.params, check_mode=module.check_mode)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
