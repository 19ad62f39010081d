#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: celery_dead_letters_info
short_description: List the tasks that were given up because they killed their workers
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Lists the dead letters of the broker with their history, from inside one ready worker pod and with the settings that
    this pod has. A task becomes one when its process died with it more often than C(celery_worker_redelivery_limit)
    of role C(celery_worker) allows.
  - On another broker than Redis there are none.
options:
  ids:
    description: Only the letters of these tasks, by task id.
    type: list
    elements: str
  task:
    description: Only letters of this task, by its name.
    type: str
  arguments:
    description: Whether to tell the tasks' arguments. They may hold anything, a password included.
    type: bool
    default: false
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.worker_pod
attributes:
  check_mode:
    description: Reads in check mode as well; a machine without a cluster has no dead letters.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
  idempotent:
    description: Never reports a change.
    support: full
seealso:
  - module: celeryops.platform.celery_dead_letters
"""

EXAMPLES = r"""
- name: See which tasks killed their workers
  celeryops.platform.celery_dead_letters_info:
    namespace: jewelry-shop
    app: config
  register: given_up

- name: See what they were called with
  celeryops.platform.celery_dead_letters_info:
    namespace: jewelry-shop
    app: config
    task: apps.reporting.tasks.daily
    arguments: true
"""

RETURN = r"""
letters:
  description: The dead letters, the oldest first.
  type: list
  elements: dict
  returned: always
  contains:
    id:
      description: The task's id.
      type: str
    task:
      description: The task's name.
      type: str
    queue:
      description: The queue it came from, and goes back to.
      type: str
    priority:
      description: Its priority step there.
      type: int
    retries:
      description: How often the task itself had retried.
      type: int
    buried:
      description: When it was given up, in UTC.
      type: str
    worker:
      description: The worker that gave it up.
      type: str
    exception:
      description: How its process died last.
      type: str
    history:
      description: Each death that it was present at, the oldest first. With C(killed), whether it counts as this task's
        doing, and C(beside), how many other tasks ran in the process.
      type: list
      elements: dict
    args:
      description: Positional arguments, redacted without O(arguments); null where they cannot be read.
      type: raw
    kwargs:
      description: Keyword arguments, likewise.
      type: raw
    tag:
      description: Delivery tag of the message.
      type: str
  sample:
    - id: 6a8f3a56-5d0e-4a4f-9c6f-3f0a6f3f9d51
      task: apps.reporting.tasks.daily
      queue: reports
      priority: 3
      retries: 0
      buried: "2026-03-01T08:00:41Z"
      worker: celery@celery-worker-7c9-4x2|1@celery-worker-7c9-4x2|1772352000.123
      exception: "WorkerLostError: Worker exited prematurely: signal 9 (SIGKILL) Job: 7."
      history:
        - when: "2026-03-01T08:00:41Z"
          worker: celery@celery-worker-7c9-4x2|1@celery-worker-7c9-4x2|1772352000.123
          how: "Worker exited prematurely: signal 9 (SIGKILL) Job: 7."
          killed: true
          beside: 0
      args: VALUE_REDACTED
      kwargs: VALUE_REDACTED
      tag: 0b0e7c7e-6f6f-4a53-9a3e-0e6ef4c8a8b1
"""

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._celery.argspec import WORKER_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._celery.letters import info
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR
from ansible_collections.celeryops.platform.plugins.module_utils._module import run_module

ARGS = {
    "ids": {"type": "list", "elements": "str"},
    "task": {"type": "str"},
    "arguments": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **WORKER_ARGS, **ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    run_module(module, lambda result: info(module.params, result, check_mode=module.check_mode), letters=[])


if __name__ == "__main__":
    main()
