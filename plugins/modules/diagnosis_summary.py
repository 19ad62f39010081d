#!/usr/bin/python
# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: diagnosis_summary
short_description: Print a diagnosis with its evidence and remedies
version_added: 0.1.0
author: The celeryops maintainers (@celeryops)
description:
  - Prints what M(celeryops.platform.celery_doctor) returned as readable lines. It decides nothing and changes nothing.
options:
  title:
    description: First words of the report.
    type: str
    required: true
  diagnosis:
    description: The result of M(celeryops.platform.celery_doctor).
    type: dict
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
- name: Print the diagnosis
  celeryops.platform.diagnosis_summary:
    title: jewelry-shop
    diagnosis: "{{ diagnosis }}"
"""

RETURN = r"""
lines:
  description: The lines of the report.
  type: list
  elements: str
  returned: always
  sample: ["jewelry-shop: nothing found, 50 causes ruled out"]
"""
