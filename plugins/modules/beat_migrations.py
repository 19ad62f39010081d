#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: beat_migrations
short_description: Apply Django migrations, those of django-celery-beat first of all, and prove their tables
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Applies all migrations that the application's image holds for some apps, with the project's own C(migrate)
    command.
  - Afterwards every table and column of the apps' models is looked for in the database's catalogue. Beat dies at its
    start where one is missing.
  - A run that finds tables gone which migrations had made restores them. When all tables of an app are gone and no
    other app's migrations build upon it, its migrations run again. Otherwise the missing tables are made anew, empty,
    and keys to lost rows are not given out again. Nothing is ever dropped, and RV(repaired) tells what was done.
  - A run holds an advisory lock of the database, so a second run waits and then finds nothing to do.
  - A failed migration is reported with the statement that failed. What was applied before it stays applied, and the
    next run goes on with it.
options:
  apps:
    description: Labels of the apps, or V(all) for every app that has migrations.
    type: list
    elements: str
    default: [django_celery_beat]
  database:
    description:
      - Alias of the database in the application's settings. It must give a session of its own, so no pooler in
        transaction mode; that is checked.
      - Without it V(direct) where the settings have it, else V(default).
    type: str
extends_documentation_fragment:
  - celeryops.platform.kube
  - celeryops.platform.app_pod
attributes:
  check_mode:
    description: A pod reads what would be applied and restored, in a session that the server keeps from writing.
    support: full
  diff_mode:
    description: The migrations recorded before and after.
    support: full
  idempotent:
    description: Changed only when a migration was applied or a table was restored.
    support: full
seealso:
  - module: celeryops.platform.beat_schedule
"""

EXAMPLES = r"""
- name: Make the tables of beat
  celeryops.platform.beat_migrations:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]

- name: Apply everything that the application has
  celeryops.platform.beat_migrations:
    namespace: jewelry-shop
    image: registry.example.com/jewelry-shop:1.4
    app: config
    config_maps: [app-config]
    secrets: [app-secrets]
    apps: [all]
    database: direct
"""

RETURN = r"""
pending:
  description: Migrations that were to be applied when the run began, in order; V(null) where nobody could be asked.
  type: list
  elements: str
  returned: always
  sample: [django_celery_beat.0019_alter_periodictasks_options]
applied:
  description: Migrations that this run applied.
  type: list
  elements: str
  returned: always
  sample: [django_celery_beat.0019_alter_periodictasks_options]
recorded:
  description: Migrations of these apps that are applied at the end.
  type: list
  elements: str
  returned: always
  sample: [django_celery_beat.0001_initial]
repaired:
  description: Tables that were gone although migrated, by app.
  type: list
  elements: dict
  returned: always
  contains:
    app:
      description: Label of the app.
      type: str
    tables:
      description: The missing tables.
      type: list
      elements: str
    replay:
      description: Whether the app's migrations ran again; else the tables were made anew.
      type: bool
    notes:
      description: What else there is to know, such as rows that lead to lost ones.
      type: list
      elements: str
lines:
  description: One readable line for each step.
  type: list
  elements: str
  returned: always
  sample: [applied django_celery_beat.0001_initial (0.14 s)]
tables:
  description: What the catalogue was searched for, and what it lacks; in check mode lacks are still to be made.
  type: dict
  returned: when the database was asked and no migration failed
  sample: {tables: 6, columns: 44, missing_tables: [], missing_columns: []}
database:
  description: Which database it was.
  type: dict
  returned: when the database was asked and nothing failed
  sample: {alias: direct, vendor: postgresql, host: jewelry-shop-db, name: jewelry_shop}
versions:
  description: Versions in the image.
  type: dict
  returned: when the database was asked and nothing failed
  sample: {django: 5.2.19, django_celery_beat: 2.9.0}
failed_migration:
  description: The migration that failed, its failing statement without parameters, and the error.
  type: dict
  returned: when a migration failed
  sample: {migration: shop.0002_gold, statement: ALTER TABLE ..., error: "ProgrammingError: ..."}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.celeryops.platform.plugins.module_utils._beat import requests
from ansible_collections.celeryops.platform.plugins.module_utils._beat.argspec import APP_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._beat.runner import NotYet, run
from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.argspec import KUBE_ARGS
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import KUBERNETES_IMPORT_ERROR

NOTHING: dict[str, Any] = {"pending": [], "applied": [], "recorded": [], "repaired": [], "lines": []}


def migrate(params: dict[str, Any], check: bool) -> tuple[dict[str, Any], str | None]:
    """The result, and a warning where nobody could be asked."""
    try:
        result = run("migrations", params, requests.migrations(params, check=check), check=check)
    except NotYet as reason:
        return {
            **NOTHING,
            "changed": True,
            "pending": None,
        }, f"The pending migrations cannot be told: {reason}"
    after = sorted({*result["recorded"], *(result["pending"] if check else [])})
    before = [name for name in after if name not in result["pending"]]
    result["diff"] = {
        "before": "".join(f"{name}\n" for name in before),
        "after": "".join(f"{name}\n" for name in after),
    }
    return result, None


def main() -> None:
    module = AnsibleModule(
        argument_spec={**KUBE_ARGS, **APP_ARGS, **requests.MIGRATIONS_ARGS}, supports_check_mode=True
    )
    if KUBERNETES_IMPORT_ERROR:
        module.fail_json(msg=missing_required_lib("kubernetes"), exception=KUBERNETES_IMPORT_ERROR)
    try:
        result, warning = migrate(module.params, module.check_mode)
    except CeleryOpsError as error:
        module.fail_json(msg=str(error), **{**NOTHING, **error.details})
    if warning:
        module.warn(warning)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
