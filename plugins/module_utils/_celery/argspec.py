# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of the modules that ask a worker's container."""

from __future__ import annotations

from typing import Any

__all__ = ["WORKER_ARGS"]

# Documented by the fragment celeryops.platform.worker_pod
WORKER_ARGS: dict[str, Any] = {
    "namespace": {"type": "str", "required": True},
    "app": {"type": "str", "required": True},
    "workers": {"type": "list", "elements": "str", "default": ["celery-worker"]},
    "python": {"type": "str", "default": "python"},
}
