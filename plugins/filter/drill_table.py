# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of drills as a table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: drill_table
short_description: Results of drills as a table of plain text
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Holds each drill against its budget, and tells the gaps and losses of writes to Redis and PostgreSQL.
positional: _input
options:
  _input:
    description: Results of M(celeryops.platform.celery_drill), as a loop registers them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show how the drills went
  ansible.builtin.debug:
    msg: "{{ drilled.results | celeryops.platform.drill_table }}"
"""

RETURN = r"""
_value:
  description: The lines of the table.
  type: list
  elements: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._drill.results import told
from ansible_collections.celeryops.platform.plugins.module_utils._drill.table import lines


def drill_table(results: Sequence[Mapping[str, Any]]) -> list[str]:
    return lines(told(results))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"drill_table": drill_table}
