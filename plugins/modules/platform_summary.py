#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_summary
short_description: Print what was checked, where things run and what to try next
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Prints a report as readable lines. It decides nothing and changes nothing.
  - Leaves the statistic C(platform_report) as M(ansible.builtin.set_stats) does, with C(title), C(proved), the number
    C(passed), what C(failed) with its evidence, and what was left C(open) with the reason.
options:
  title:
    description: First words of the report.
    type: str
    required: true
  checks:
    description: Checks as M(celeryops.platform.celery_validate) returns them.
    type: list
    elements: dict
    required: true
  pods:
    description: Pods as M(celeryops.platform.celery_validate) returns them.
    type: list
    elements: dict
    default: []
  commands:
    description: Commands to try next.
    type: list
    elements: dict
    default: []
    suboptions:
      what:
        description: What the command is good for.
        type: str
        required: true
      command:
        description: The command.
        type: str
        required: true
attributes:
  check_mode:
    description: Prints in check mode too.
    support: full
  diff_mode:
    description: There is nothing to differ.
    support: none
  idempotent:
    description: Never reports a change.
    support: full
"""

EXAMPLES = r"""
- name: Print the report
  celeryops.platform.platform_summary:
    title: jewelry-shop
    checks: "{{ validated.checks }}"
    pods: "{{ validated.pods }}"
    commands:
      - {what: pods, command: kubectl -n jewelry-shop get pods}
"""

RETURN = r"""
lines:
  description: The lines of the report.
  type: list
  elements: str
  returned: always
  sample: ["jewelry-shop: 11 of 11 checks passed"]
"""
