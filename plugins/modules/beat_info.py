#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: beat_info
short_description: See whether all migrations are applied and the schedule is as declared
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Asks both questions that M(celeryops.platform.beat_migrations) and M(celeryops.platform.beat_schedule) ask before
    they act, in one visit to a container that runs with the very image and environment that their pods would get. The
    application is imported once in the place of twice.
  - Where no such container is ready, or the visit fails, it says so by RV(asked); the two modules tell what is wrong.
options:
  apps:
    description: As in M(celeryops.platform.beat_migrations).
    type: list
    elements: str
    default: [django_celery_beat]
  migrations_database:
    description: The option C(database) of M(celeryops.platform.beat_migrations).
    type: str
  entries:
    description: As in M(celeryops.platform.beat_schedule).
    type: list
    elements: raw
    required: true
  prune:
    description: As in M(celeryops.platform.beat_schedule).
    type: bool
    default: false
  timezone:
    description: As in M(celeryops.platform.beat_schedule).
    type: str
  queues:
    description: As in M(celeryops.platform.beat_schedule).
    type: list
    elements: str
  priority_function:
    description: As in M(celeryops.platform.beat_schedule).
    type: str
  database:
    description: As in M(celeryops.platform.beat_schedule).
    type: str
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.app_pod
attributes:
  check_mode:
    description: It only looks, in a session that the server keeps from writing.
    support: full
  diff_mode:
    description: Nothing is changed.
    support: none
  idempotent:
    description: Nothing is changed.
    support: full
seealso:
  - module: celeryops.platform.beat_migrations
  - module: celeryops.platform.beat_schedule
"""

EXAMPLES = r"""
- name: See whether tables and schedule are as declared
  celeryops.platform.beat_info:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]
    apps: [all]
    entries:
      - {name: full database backup, task: apps.backups.tasks.backup_database, cron: "0 2 * * *"}
  register: seen

- name: Apply what is pending
  celeryops.platform.beat_migrations:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]
    apps: [all]
  when: not seen.migrated
"""

RETURN = r"""
asked:
  description: Whether a container could be asked.
  returned: always
  type: bool
migrated:
  description: Whether every migration is applied, and every table and column of the apps' models is there.
  returned: always
  type: bool
scheduled:
  description: Whether the periodic tasks are as declared. V(false) where RV(migrated) is, too.
  returned: always
  type: bool
migrations:
  description: What C(beat_migrations) would return in check mode; empty where nobody could be asked.
  returned: always
  type: dict
  sample: {pending: [], recorded: [django_celery_beat.0001_initial], tables: {tables: 6, columns: 44}}
schedule:
  description: The return value C(schedule) of M(celeryops.platform.beat_schedule).
  returned: always
  type: list
  elements: dict
  sample: [{name: full database backup, declared: true, next_run: "2030-02-01T02:00:00+00:00"}]
survey:
  description: The return value C(survey) of M(celeryops.platform.beat_schedule).
  returned: always
  type: dict
  sample: {conf: {task_acks_late: true}, queues: [celery], routes: [], tasks: [], schedule: []}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._beat import requests
from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._beat.runner import look, settled
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR

ARGS: dict[str, Any] = {
    **requests.SCHEDULE_ARGS,
    "apps": requests.MIGRATIONS_ARGS["apps"],
    "migrations_database": {"type": "str"},
}


def see(params: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The result, and warnings. Raises CeleryOpsError for entries that are wrong by themselves."""
    request = {
        "migrations": requests.migrations({**params, "database": params["migrations_database"]}, check=True),
        "schedule": requests.schedule(params, check=True),
    }
    seen = look("state", params, request)
    tables, kept = (seen["migrations"], seen["schedule"] or {}) if seen else ({}, {})
    result = {
        "asked": seen is not None,
        "migrated": bool(tables) and settled(tables),
        "scheduled": bool(kept) and settled(kept),
        "migrations": tables,
        "schedule": kept.get("schedule", []),
        "survey": kept.get("survey", {}),
    }
    # Where the schedule differs, the module that puts it right warns.
    return result, kept.get("warnings", []) if result["scheduled"] else []


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **APP_ARGS, **ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    try:
        result, warnings = see(module.params)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
