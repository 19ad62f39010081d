#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: beat_schedule
short_description: Keep the schedule of django-celery-beat as data
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Makes the periodic tasks in the application's database say what was declared, through the models of the
    django-celery-beat in the application's image, in one transaction. The running beat picks the change up within
    seconds.
  - Entries that are not declared are left alone, or deleted with O(prune). A declared entry is declared as a whole, so
    a field that is left out gets its default.
  - Everything is checked before anything is written, and every problem is told at once. Cron fields, types, duplicate
    names and priorities are checked without the application; queues and tasks against it.
  - People declare priorities from 0 to 10 and mean 10 as the most urgent. Redis serves 0 first and knows 0 to 9. The
    number written is C(min(9, 10 - declared)), or what O(priority_function) makes of it. On AMQP brokers it is the
    declared number.
options:
  entries:
    description:
      - The entries. Each has C(name), C(task) and exactly one of C(cron), C(crontab), C(interval), C(solar) and
        C(clocked).
      - C(cron) is a line such as V(0 2 * * *). C(crontab) is a mapping of C(minute), C(hour), C(day_of_month),
        C(month_of_year), C(day_of_week) and C(timezone), of which C(minute) is required. C(interval) is a mapping of
        C(every), a whole number, and C(period), one of V(days), V(hours), V(minutes), V(seconds), V(microseconds).
      - C(solar) is a mapping of C(event) (such as V(sunrise), V(solar_noon) or V(dusk_civil)), C(lat) and C(lon) in
        degrees, north and east positive. The application's image needs the library ephem.
      - C(clocked) is a time with its offset, such as V(2030-01-31T12:00:00+00:00), at which the task is sent once.
      - Day of week is V(0) for Sunday to V(6), or a name. A day must fit both day fields, unlike in cron, where
        either does.
      - C(queue) is the name of a queue, C(priority) 0 to 10. Without them the application's routes decide.
      - C(args) is a list and C(kwargs) a mapping for the task. C(enabled) defaults to V(true), C(one_off) to
        V(false), C(description) to an empty text.
      - Beat disables an entry that comes once, C(clocked) or C(one_off), when it has run. It stays so until a field of
        it is declared anew.
      - C(expires) is the seconds after which a message is void, or a time with its offset after which the entry
        rests. C(start_time) is such a time before which it does.
    type: list
    elements: raw
    required: true
  prune:
    description:
      - Delete the periodic tasks that are not declared, whoever made them.
      - C(celery.backend_cleanup), which beat itself makes whenever it starts, is only touched when it is declared.
    type: bool
    default: false
  timezone:
    description: Time zone of crontab entries that name none; without it the application's C(CELERY_TIMEZONE).
    type: str
  queues:
    description: The queues that have workers. Entries may name only these, and only queues that the application
      declares.
    type: list
    elements: str
  priority_function:
    description:
      - The application's own translation of a declared priority, as V(module:function), where its routes use one too.
      - Without it the module's rule is used.
    type: str
  database:
    description: Alias of the database in the application's settings; without it the one that beat uses. A pooler will
      do.
    type: str
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.app_pod
attributes:
  check_mode:
    description: A pod compares the entries with the rows and writes none. Missing tables count as empty.
    support: full
  diff_mode:
    description: The differing fields of each entry, as they are stored.
    support: full
  idempotent:
    description: Changed only when a row was made, changed or deleted.
    support: full
seealso:
  - module: celeryops.platform.beat_migrations
"""

EXAMPLES = r"""
- name: Keep the schedule
  celeryops.platform.beat_schedule:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]
    timezone: UTC
    queues: [celery, backups, pricing]
    entries:
      - name: full database backup
        task: apps.backups.tasks.backup_database
        cron: "0 2 * * *"
        queue: backups
        priority: 10
      - name: fetch gold rates
        task: apps.pricing.tasks.fetch_gold_rates
        interval: {every: 5, period: minutes}
        queue: pricing
        priority: 8
        expires: 300
      - name: lights of the shop
        task: apps.core.alert_tasks.collect_system_metrics
        solar: {event: sunset, lat: 52.52, lon: 13.41}
      - name: end of the sale
        task: apps.pricing.tasks.update_inventory_prices
        clocked: "2030-01-31T22:00:00+00:00"
    prune: true
"""

RETURN = r"""
entries:
  description: What became of each entry, in the declared order; then those that were deleted.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the entry.
      type: str
    action:
      description: V(create), V(update), V(delete) or V(unchanged); in check mode what it would be.
      type: str
    fields:
      description: The fields that differed.
      type: list
      elements: str
  sample:
    - {name: full database backup, action: update, fields: [priority]}
counts:
  description: How many entries met which action.
  type: dict
  returned: always
  sample: {create: 0, update: 1, delete: 0, unchanged: 21}
schedule:
  description:
    - Every periodic task in the table as it is afterwards, in check mode as it would be, by name. Those that were not
      declared too.
    - Empty where the application could not be asked.
  type: list
  elements: dict
  returned: always
  contains:
    name:
      description: Name of the entry.
      type: str
    declared:
      description: Whether it is among O(entries).
      type: bool
    task:
      description: The task that is sent.
      type: str
    last_run:
      description: When beat sent it last; null where it never did. The later one of what the row says and of what beat
        has noted in the broker, for the row is written late.
      type: str
    next_run:
      description: Its first due time after that. One that is past is sent as soon as a beat acts. Null where there is
        none, for the reason in C(ignored).
      type: str
    runs:
      description: How often beat has counted a run.
      type: int
    ignored:
      description: Why its task never runs as things are - disabled, expired, done once, without a schedule, never due,
        or a task that the application does not have. Null where it does.
      type: str
    missed:
      description: How many due times have passed without a message, as far as beat has noted it in a broker that is
        Redis; null without such a note.
      type: int
    missed_at:
      description: When beat last noted that.
      type: str
    unsent:
      description: A due time that a beat has claimed and not sent, with C(due), C(claimed) and C(holder). Whoever acts
        next sends it, unless a newer one is due by then.
      type: dict
  sample:
    - name: full database backup
      declared: true
      task: apps.backups.tasks.backup_database
      last_run: "2030-01-31T02:00:00+00:00"
      next_run: "2030-02-01T02:00:00+00:00"
      runs: 31
      ignored: null
      missed: 0
      missed_at: null
      unsent: null
survey:
  description: What the application says about itself, for O(celeryops.platform.celery_settings_check#module:survey).
    Empty where it could not be asked.
  type: dict
  returned: always
  sample: {conf: {task_acks_late: true}, queues: [celery], routes: [], tasks: [], schedule: []}
problems:
  description: Everything that is wrong with the declared entries.
  type: list
  elements: str
  returned: when the entries were refused
  sample: ["'full database backup': queue: expected one of the application's task_queues (celery), found
    \"backup\""]
"""

from collections import Counter
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._beat import requests
from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._beat.runner import NotYet, run
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR


def reconcile(params: dict[str, Any], check: bool) -> tuple[dict[str, Any], list[str]]:
    """The result, and warnings."""
    request = requests.schedule(params, check=check)
    try:
        answer = run("schedule", params, request, check=check)
    except NotYet as reason:
        changes = [{"name": entry["name"], "action": "create", "fields": []} for entry in request["entries"]]
        answer = {
            "changed": bool(changes),
            "changes": changes,
            "warnings": [f"The present schedule cannot be told: {reason}"],
        }
    diff = [one.pop("diff") for one in answer["changes"] if "diff" in one]
    counts = Counter(one["action"] for one in answer["changes"])
    result = {
        "changed": answer["changed"],
        "entries": answer["changes"],
        "counts": {action: counts[action] for action in ("create", "update", "delete", "unchanged")},
        "diff": [one for one in diff if one["before"] or one["after"]],
        "schedule": answer.get("schedule", []),
        "survey": answer.get("survey", {}),
    }
    return result, answer["warnings"]


def main() -> None:
    module = AnsibleModule(argument_spec={**KUBE_ARGS, **APP_ARGS, **requests.SCHEDULE_ARGS}, supports_check_mode=True)
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    try:
        result, warnings = reconcile(module.params, module.check_mode)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), entries=[], counts={}, schedule=[], survey={}, **error.details)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
