# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the options by which a module finds and asks a worker's container."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  namespace:
    description: Namespace of the workers.
    type: str
    required: true
  app:
    description: The Celery application, as for C(celery -A).
    type: str
    required: true
  workers:
    description: Names of the workers' Deployments; the newest ready pod of any of them is asked.
    type: list
    elements: str
    default: [celery-worker]
  python:
    description: The Python in the worker's image that has Celery.
    type: str
    default: python
"""
