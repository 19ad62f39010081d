# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Redis a module looks at."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the Redis pods.
    type: str
    required: true
  statefulset:
    description:
      - Name of the StatefulSet whose pods are the Redis servers.
      - Where these have a Secret mounted at the folder that their environment variable E(REDIS_TLS) names, as role
        redis makes it, they and the Sentinels speak TLS, and C(ca.crt) of that Secret is the authority's certificate.
    type: str
    default: redis
  port:
    description: Port on which Redis listens in its pods.
    type: int
    default: 6379
  password_secret:
    description: Where the password stands. It is never printed, and reaches a pod through standard input only.
    type: dict
    suboptions:
      name:
        description: Name of the Secret in the same namespace; empty for a Redis without a password.
        type: str
        default: redis-auth
      key:
        description: Key in that Secret.
        type: str
        default: password
  sentinel:
    description: The Sentinels that watch over it. Where there is no such StatefulSet, there are none.
    type: dict
    suboptions:
      statefulset:
        description: Name of the StatefulSet.
        type: str
        default: redis-sentinel
      port:
        description: Port on which they listen in their pods.
        type: int
        default: 26379
      master_name:
        description: The name under which they know the master.
        type: str
        default: mymaster
  cluster_domain:
    description: Domain of the cluster's DNS.
    type: str
    default: cluster.local
  timeout:
    description: Seconds to wait for a connection and for each answer.
    type: int
    default: 3
requirements:
  - redis >= 6.0 on the host where the module runs
  - C(sh), C(timeout), C(getent), C(sed) and C(redis-cli) in the Redis image
"""

    # What a client of a name gets.
    CLIENT = r"""
options:
  proxy:
    description: HAProxy in front of the pods. Where there is no such Deployment, there is none.
    type: dict
    suboptions:
      deployment:
        description: Name of the Deployment.
        type: str
        default: redis-proxy
      service:
        description: Name of the Service that leads to it.
        type: str
        default: redis-master
      status_port:
        description: Port of its statistics.
        type: int
        default: 8404
  external:
    description: A Redis outside of the collection's care. It is asked from a short-lived pod in O(namespace).
    type: dict
    suboptions:
      host:
        description: Name or address, as pods reach it.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 6379
      tls:
        description: Whether it speaks TLS.
        type: bool
        default: false
      verify_certificate:
        description: Whether its certificate has to be valid.
        type: bool
        default: true
      ca:
        description: Certificate of the authority that signed the server's, as PEM. Empty for the image's own.
        type: str
        default: ""
      ca_file:
        description: Where the application's pods find that certificate. It becomes part of the URL.
        type: str
        default: ""
      username:
        description: User of Redis' access control lists. Empty for the user named default.
        type: str
        default: ""
      image:
        description: Image of the pod, with the commands below.
        type: str
        required: true
  connections:
    description:
      - How many new connections are made to each name. One of them alone may happen to reach the master behind a
        Service that balances over replicas too; of twelve with three pods, all do so in 1 of 531441 cases.
      - A name with several addresses is asked at each of them in turn, at least once at each. The headless Service,
        which leaves nothing to chance, is asked just once at each.
    type: int
    default: 12
"""
