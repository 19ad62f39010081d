# -*- coding: utf-8 -*-

# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of modules that only look."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Changes nothing, so it does the same.
    support: full
  diff_mode:
    description: Changes nothing.
    support: N/A
  idempotent:
    description: Never reports a change.
    support: full
"""

    # Of modules that may be asked to wait for what others have begun.
    WAITING = r"""
attributes:
  check_mode:
    description: Changes nothing; in check mode it does not wait.
    support: full
  diff_mode:
    description: Changes nothing.
    support: N/A
  idempotent:
    description: Never reports a change.
    support: full
"""
