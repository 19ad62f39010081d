#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: drill_report
short_description: Write one page about drills, with a timeline of each
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Writes what M(celeryops.platform.celery_drill) returned as one HTML file, which needs no other file and no network.
    It has a table of the drills with their budget, one of the writes to Redis and PostgreSQL, and for each drill a plot
    of the tasks that were sent, run and waiting, with the disturbances, recoveries and gaps of writes marked.
  - Writes the same as JSON beside it, under the same name with C(.json).
  - Both are written on the controller. Drills that failed, were stopped or were not held are reported as such.
options:
  path:
    description: Where to write the page. The name ends in C(.html), and the folder is there.
    type: path
    required: true
  title:
    description: What was drilled; part of the page's title.
    type: str
    required: true
  drills:
    description: Results of M(celeryops.platform.celery_drill), as a loop registers them.
    type: list
    elements: dict
    required: true
attributes:
  check_mode:
    description: Sees whether the files could be written and would differ; writes nothing.
    support: full
  diff_mode:
    description: A page with drawings is not read as lines.
    support: none
  idempotent:
    description: The same drills make the same files.
    support: full
"""

EXAMPLES = r"""
- name: Kill and evict workers
  celeryops.platform.celery_drill:
    namespace: jewelry-shop
    app: config
    task: config.celery.debug_task
    drill: "{{ item }}"
    allowed: "{{ drill_allowed }}"
  loop: [worker_kill, eviction]
  register: drilled

- name: Report it
  celeryops.platform.drill_report:
    path: drills.html
    title: jewelry-shop
    drills: "{{ drilled.results }}"
"""

RETURN = r"""
path:
  description: Where the page is.
  type: str
  returned: always
  sample: /tmp/drills.html
json_path:
  description: Where the JSON is.
  type: str
  returned: always
  sample: /tmp/drills.json
passed:
  description: Whether drills were held, and each of them kept its budget; null where none could be reported.
  type: bool
  returned: always
  sample: true
"""
