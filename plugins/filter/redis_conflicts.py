# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of role redis held against each other."""

from __future__ import annotations

DOCUMENTATION = r"""
name: redis_conflicts
short_description: Settings of role redis that do not hold together
version_added: 0.1.0
author:
  - The celeryops maintainers (@celeryops)
description:
  - Holds memory, replicas, Sentinels, proxy and times against each other, as far as the chosen mode uses them.
positional: _input
options:
  _input:
    description: The role's variables, without the prefix C(redis_).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what does not hold together
  ansible.builtin.debug:
    msg: "{{ settings | celeryops.platform.redis_conflicts }}"
"""

RETURN = r"""
_value:
  description: What was expected, what was found and what to do; nothing when all is well.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._redis.settings import conflicts


def redis_conflicts(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    return [asdict(conflict) for conflict in conflicts(settings)]


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"redis_conflicts": redis_conflicts}
