# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Worker pools as role celery_worker needs them."""

from __future__ import annotations

DOCUMENTATION = r"""
name: worker_pools
short_description: Complete declarations of Celery worker pools
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Gives each pool every field that it does not declare, the name of its Deployment, and its command line.
  - Settings and probes of a pool are merged over the defaults, environment and volumes are added to them, all else
    replaces the default.
  - A solo pool has a concurrency of 1 unless it says otherwise, and a pool that says nothing about C(min_available)
    lets at least one pod go.
positional: _input
options:
  _input:
    description: The pools, as in the variable C(celery_worker_pools) of role celery_worker.
    type: list
    elements: dict
    required: true
  defaults:
    description: Fields of a pool that declares none.
    type: dict
    required: true
  workload:
    description: Name of the default pool's Deployment; the names of others begin with it.
    type: str
    required: true
  app:
    description: The Celery application, as for C(celery -A).
    type: str
    required: true
  executable:
    description: What starts Celery in the image.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the command line of a pool
  ansible.builtin.debug:
    msg: "{{ (pools | celeryops.platform.worker_pools(defaults, 'celery-worker', 'config', ['celery'])).0.args }}"
"""

RETURN = r"""
_value:
  description: The pools, with C(deployment) and C(args) added.
  type: list
  elements: dict
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError

from ansible_collections.celeryops.platform.plugins.module_utils._celery.pools import complete, words
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError


def worker_pools(
    pools: Sequence[Mapping[str, Any]],
    defaults: Mapping[str, Any],
    workload: str,
    app: str,
    executable: Sequence[str],
) -> list[dict[str, Any]]:
    try:
        return [{**pool, "args": words(pool, app, executable)} for pool in complete(pools, defaults, workload)]
    except CeleryOpsError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"worker_pools": worker_pools}
