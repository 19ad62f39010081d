# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API server answered, as one exception."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["KubeError"]


class KubeError(CeleryOpsError):
    """A refused or failed request.

    ``status`` is the HTTP status (0 when no answer came), ``reason`` the API's reason such as
    ``NotFound`` or ``Conflict``, ``server_message`` the server's own words.
    """

    def __init__(
        self, message: str, *, status: int = 0, reason: str = "", server_message: str = "", **details: Any
    ) -> None:
        self.status = status
        self.reason = reason
        self.server_message = server_message
        super().__init__(message, status=status, reason=reason, **details)

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409
