# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of what a drill may cost, and of the Redis and PostgreSQL that it disturbs or writes to."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  redis:
    description: The Redis that is drilled, or written to while nodes are. A proxy leads to its master.
    type: dict
    suboptions:
      statefulset:
        description: Name of the StatefulSet.
        type: str
        default: redis
      port:
        description: Port on which it listens in its pods.
        type: int
        default: 6379
      password_secret:
        description: Where the password stands.
        type: dict
        suboptions:
          name:
            description: Name of the Secret; empty for a Redis without a password.
            type: str
            default: redis-auth
          key:
            description: Key in that Secret.
            type: str
            default: password
      sentinel:
        description: The Sentinels that watch over it.
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
      proxy:
        description: HAProxy in front of the pods.
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
      cluster_domain:
        description: Domain of the cluster's DNS.
        type: str
        default: cluster.local
      timeout:
        description: Seconds to wait for each answer where its state is asked for.
        type: int
        default: 3
  postgresql:
    description: The cluster under Patroni that is drilled, or written to while nodes are.
    type: dict
    suboptions:
      name:
        description: Name of the cluster.
        type: str
        required: true
      database:
        description: Database in which a table is made, and dropped in the end.
        type: str
        required: true
      role:
        description: Role that writes.
        type: str
        required: true
      secret:
        description: Secret of its credentials, with the keys C(username) and C(password).
        type: str
        required: true
      host:
        description: What clients use; by default the cluster's pooler.
        type: str
        default: ""
      port:
        description: Its port.
        type: int
        default: 5432
  budget:
    description: What is allowed. A limit that a kind of drill is not held to is ignored by it; see RV(budget).
    type: dict
    suboptions:
      lost:
        description:
          - Tasks that never ended. 0 by default. Not of tasks that are drilled together with the master of Redis, whose
            replication is asynchronous.
        type: int
      run_twice:
        description:
          - Tasks that were started more than once although no worker was killed under them. 0 by default. Not where
            Redis or nodes are drilled, as a worker that loses the broker gives back what it runs.
        type: int
      elsewhere:
        description: Seconds from a kill until everything that the worker ran is started elsewhere. 60 by default.
        type: float
      redis_gap:
        description: Seconds within which 95 % of the gaps of writes to Redis are. 10 by default.
        type: float
      postgresql_gap:
        description: Seconds within which 95 % of the gaps of writes to PostgreSQL are. 20 by default.
        type: float
      node_gap:
        description: The same of both where a node is lost. 60 by default.
        type: float
      commits_lost:
        description: Acknowledged commits that PostgreSQL lost in synchronous mode. 0 by default.
        type: int
      replica_writes:
        description: Writes that reached a replica of Redis outside of a gap. 0 by default.
        type: int
"""
