#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_doctor
short_description: Name the cause of what is wrong with Celery on Kubernetes
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Looks at everything that can tell why workers or beat do not work, in seconds, and returns causes in the order of
    their likelihood, each with quoted evidence and a remedy. The page C(diagnosis) lists them.
  - It reads pods with the state, exit code and log of each container, that of the run before included; events; specs;
    LimitRanges, quotas and autoscalers; the shape of Secrets, never a value. In one running container of each
    Deployment it asks the application for its settings, its broker, its database, its workers and its queues. A
    container that does not run is not entered; the broker is asked from a pod of Redis then.
  - What could not be looked at is told and hides nothing else. When it does not know, it says so and what it ruled out.
  - Any Deployments of Celery can be looked at, not only those that this collection made.
options:
  namespace:
    description: Namespace of the workers and of beat. Required unless O(replay_path) is given.
    type: str
  workers:
    description: Names of the workers' Deployments. By default those whose first container runs C(celery worker), or
      that have the label C(component=celery-worker).
    type: list
    elements: str
    default: []
  beats:
    description: Names of beat's Deployments; by default found in the same way.
    type: list
    elements: str
    default: []
  replicas:
    description: How many pods a Deployment ought to have, by name, where the Deployment itself may have been changed.
    type: dict
    default: {}
  queues:
    description: Queues that have to be consumed, beside those that hold messages.
    type: list
    elements: str
    default: []
  app:
    description: The Celery application, as for C(celery -A); by default that of each Deployment's own command line.
    type: str
  python:
    description: The Python in the image that has Celery.
    type: str
    default: python
  connections:
    description: How many new connections to the broker's URL are asked for their role. One proves nothing.
    type: int
    default: 10
  within:
    description: Seconds for one answer of the broker, of the database, or of a worker.
    type: float
    default: 2
  timeout:
    description: Seconds for all answers of one container.
    type: float
    default: 20
  snapshot_path:
    description:
      - Where to save what was looked at, as JSON. It holds no secret. The file is no part of the platform, and writing
        it no change.
    type: path
  replay_path:
    description: A saved snapshot to diagnose, in place of a cluster.
    type: path
extends_documentation_fragment:
  - celeryops.platform.kube
attributes:
  check_mode:
    description: Does the same, but saves no snapshot.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
  idempotent:
    description: Never reports a change.
    support: full
"""

EXAMPLES = r"""
- name: See what is wrong
  celeryops.platform.celery_doctor:
    namespace: jewelry-shop
    snapshot_path: case.json
  register: diagnosis

- name: Diagnose a colleague's case
  celeryops.platform.celery_doctor:
    replay_path: case.json
"""

RETURN = r"""
healthy:
  description: Whether there is neither a finding nor anything that is not as it should be.
  type: bool
  returned: always
  sample: false
first:
  description: The first finding as one sentence, or what there is to say without one.
  type: str
  returned: always
  sample: "The LimitRange refuses the pods of deployment/celery-worker [limit-range, certain]: ..."
findings:
  description: Causes, the likeliest first.
  type: list
  elements: dict
  returned: always
  contains:
    cause:
      description: Its identifier.
      type: str
    title:
      description: What is wrong.
      type: str
    confidence:
      description: C(certain), C(likely) or C(possible).
      type: str
    evidence:
      description: Quoted lines, each with C(source) and C(text).
      type: list
      elements: dict
    explains:
      description: Subjects of the symptoms that it explains; empty for what has done no harm yet.
      type: list
      elements: str
    remedy:
      description: A command, or the variable to change.
      type: str
  sample:
    - cause: limit-range
      title: The LimitRange refuses the pods of deployment/celery-worker
      confidence: certain
      evidence:
        - source: condition ReplicaFailure of deployment/celery-worker
          text: "cpu max limit to request ratio per Container is 2, but provided ratio is 2.666667"
      explains: [deployment/celery-worker]
      remedy: bring limit and request closer in celery_worker_resources
symptoms:
  description: What is not as it should be, whatever the cause, each with C(subject) and C(text).
  type: list
  elements: dict
  returned: always
  sample: [{subject: pod/celery-worker-7c9-x, text: "worker: CrashLoopBackOff, ended 4 times"}]
unexplained:
  description: Symptoms that no finding explains.
  type: list
  elements: dict
  returned: always
  sample: []
ruled_out:
  description: Causes that it is not, each with C(cause) and C(because).
  type: list
  elements: dict
  returned: always
  sample: [{cause: quota, because: there is none}]
could_not_look:
  description: Parts and causes that could not be looked at, each with C(what) and C(because).
  type: list
  elements: dict
  returned: always
  sample: [{what: Node, because: the account may not list nodes}]
namespace:
  description: Where it was looked.
  type: str
  returned: always
  sample: jewelry-shop
seconds:
  description: How long the look and the diagnosis took.
  type: float
  returned: always
  sample: 3.2
taken:
  description: When the snapshot was taken.
  type: str
  returned: always
  sample: "2026-11-27T12:00:00+00:00"
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.celeryops.platform.plugins.module_utils._doctor.engine import examine
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS = {
    "namespace": {"type": "str"},
    "workers": {"type": "list", "elements": "str", "default": []},
    "beats": {"type": "list", "elements": "str", "default": []},
    "replicas": {"type": "dict", "default": {}},
    "queues": {"type": "list", "elements": "str", "default": []},
    "app": {"type": "str"},
    "python": {"type": "str", "default": "python"},
    "connections": {"type": "int", "default": 10},
    "within": {"type": "float", "default": 2},
    "timeout": {"type": "float", "default": 20},
    "snapshot_path": {"type": "path"},
    "replay_path": {"type": "path"},
}
LISTS = ("findings", "symptoms", "unexplained", "ruled_out", "could_not_look")


def main() -> None:
    module = AnsibleModule(
        argument_spec={**KUBE_ARGS, **ARGS},
        required_one_of=[("namespace", "replay_path")],
        mutually_exclusive=[("snapshot_path", "replay_path")],
        supports_check_mode=True,
    )
    run_module(
        module,
        lambda result: examine(module.params, result, check_mode=module.check_mode),
        healthy=False,
        first="",
        namespace="",
        taken="",
        seconds=0.0,
        **{name: [] for name in LISTS},
    )


if __name__ == "__main__":
    main()
