#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Redis pod is the master, and what clients of each Service get."""

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_master_info
short_description: Which Redis pod is the master, and whom clients of each Service reach
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Asks every pod of a StatefulSet for its ROLE and replication state, directly through the API server.
  - Then connects from inside the cluster, many times anew, to the name of every pod and to every Service whose
    selector matches the pods, as a Celery worker with that name in its broker URL would. A port-forward to a Service
    could not show this - it reaches one pod and bypasses kube-proxy.
  - Asks every Sentinel whom it calls the master, every proxy where it leads clients, and the API server which pods each
    Service leads to. Whatever does not fit with the pods' own ROLE is named.
  - Whether a connection may write is tested by deleting a random key that does not exist. A replica refuses that,
    on a master it changes nothing.
  - It does not fail on what it finds; RV(verdict) says it.
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.redis
  - celeryops.platform.redis.client
attributes:
  check_mode:
    description: It never changes anything.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
"""

EXAMPLES = r"""
- name: See who is the master
  celeryops.platform.redis_master_info:
    namespace: jewelry-shop
  register: redis

- name: Stop unless one master has all its replicas
  ansible.builtin.assert:
    that: redis.verdict == 'healthy'
    fail_msg: "{{ redis.disagreements | join('; ') }}"
"""

RETURN = r"""
verdict:
  description:
    - V(healthy) - one writable master that all others follow, and nobody who disagrees; V(degraded) - one master, but
      RV(disagreements);
      V(no_master); V(two_masters); V(absent) - there is no such StatefulSet.
  type: str
  returned: success
  sample: healthy
master:
  description: The pod that is the master and its stable name; empty when there is none or more than one.
  type: dict
  returned: success
  sample: {pod: redis-0, host: redis-0.redis-headless.jewelry-shop.svc.cluster.local}
disagreements:
  description: Each thing that does not fit with one master that all others follow and all clients are led to.
  type: list
  elements: str
  returned: success
  sample:
    - redis-2 has its link to the master down
    - redis-sentinel-1 calls redis-0.redis-headless.jewelry-shop.svc.cluster.local the master, redis-1 says that it is
pods:
  description: Every pod's own account. C(writable) is what a client of its name inside the cluster gets.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: redis-1, host: redis-1.redis-headless.jewelry-shop.svc.cluster.local, address: 10.42.1.7, node: worker-1,
       ready: true, role: replica, writable: false, connected_replicas: 0, link: up, loading: false, offset: 4123,
       keys: 12,
       master_host: redis-0.redis-headless.jewelry-shop.svc.cluster.local, error: ""}
services:
  description:
    - What new connections to each Service got. C(selects) are the pods behind it, C(pods) those that answered.
    - C(writable) is true when every connection may write and no replica stands behind the name.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: redis, host: redis.jewelry-shop.svc.cluster.local, port: 6379, selects: [redis-0, redis-1, redis-2],
       connections: 12, answers: {master: 5, replica: 7, none: 0}, pods: {redis-0: 5, redis-1: 3, redis-2: 4},
       writable: false, errors: [READONLY You can't write against a read only replica.]}
sentinels:
  description:
    - Every Sentinel's own account. C(names) is the host that it calls the master, C(flags) what else it thinks of it,
      C(others) how many other Sentinels it knows.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: redis-sentinel-0, ready: true, names: redis-0.redis-headless.jewelry-shop.svc.cluster.local,
       flags: [master], epoch: 0, replicas: 2, others: 2, error: ""}
proxies:
  description:
    - Every proxy's own account. C(masters) are the pods that it sees as masters, C(named) counts the Sentinels that, as
      it sees them, call each of the pods the master, and C(leads_to) is where new clients are led.
  type: list
  elements: dict
  returned: success
  sample:
    - {name: redis-proxy-5d9c-x7k2p, ready: true, masters: [redis-0], named: {redis-0: 3, redis-1: 0, redis-2: 0},
       leads_to: redis-0, error: ""}
endpoints:
  description:
    - The EndpointSlices of each Service. C(ready) are the pods that get connections, C(wanted) those that should as
      they are ready or the Service asks for all.
  type: list
  elements: dict
  returned: success
  sample:
    - {service: redis, ready: [redis-0, redis-1, redis-2], wanted: [redis-0, redis-1, redis-2]}
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import (
    KUBERNETES_IMPORT_ERROR,
    connect,
)
from ansible_collections.celeryops.platform.plugins.module_utils._redis.argspec import CLIENT_ARGS, REDIS_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._redis.cluster import find
from ansible_collections.celeryops.platform.plugins.module_utils._redis.external import External
from ansible_collections.celeryops.platform.plugins.module_utils._redis.server import REDIS_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._redis.survey import Survey


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **REDIS_ARGS, **CLIENT_ARGS}, supports_check_mode=True)
    for library, problem in (("kubernetes", KUBERNETES_IMPORT_ERROR), ("redis", REDIS_IMPORT_ERROR)):
        if problem:
            module.fail_json(msg=missing_required_lib(library), exception=problem)
    try:
        api = connect(module.params)
        place = External.of(api, module.params) if module.params["external"] else find(api, module.params)
        survey = place.survey() if place else Survey(())
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    module.exit_json(changed=False, **survey.report())


if __name__ == "__main__":
    main()
