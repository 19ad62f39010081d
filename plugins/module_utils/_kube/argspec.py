# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of every module that speaks to the API; documented in the fragment celeryops.platform.kube."""

from __future__ import annotations

from typing import Any

__all__ = ["KUBE_ARGS"]

KUBE_ARGS: dict[str, dict[str, Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "request_timeout": {"type": "float", "default": 30.0},
    "retry_timeout": {"type": "float", "default": 20.0},
}
