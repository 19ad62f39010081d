# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Failures of the Kubernetes API, in the server's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError

__all__ = ["KubeError", "NoAnswerError", "NoClusterError", "Unreachable", "from_answer"]


class Unreachable(Exception):
    """No answer came. `sent` tells whether the server may have received the request; `final`, that asking again
    will not help (a certificate that is not trusted). Api makes a KubeError of it."""

    def __init__(self, text: str, *, sent: bool, final: bool = False) -> None:
        self.sent = sent
        self.final = final
        super().__init__(text)


class KubeError(CeleryOpsError):
    """A request that the API server refused, or that did not reach one.

    `status` is the HTTP status (0 when there was no answer), `reason` the server's reason such as `NotFound`,
    `server_message` its sentence, `body` its whole answer (a Status object).
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        reason: str = "",
        server_message: str = "",
        body: Mapping[str, Any] | None = None,
        expected: str | None = None,
        found: str | None = None,
        remedy: str | None = None,
        **details: Any,
    ) -> None:
        self.status = status
        self.reason = reason
        self.server_message = server_message
        self.body: Mapping[str, Any] = body or {}
        facts = {"status": status, "reason": reason, **details}
        super().__init__(message, expected=expected, found=found, remedy=remedy, **facts)

    @property
    def not_found(self) -> bool:
        return self.status == 404

    @property
    def conflict(self) -> bool:
        return self.status == 409

    @property
    def is_permanent(self) -> bool:
        """Whether the same request would be refused again: the server answers an unknown field with status 500."""
        return self.server_message.startswith("failed to create typed patch object")

    @property
    def causes(self) -> list[dict[str, str]]:
        """What the server names as causes: mappings with `reason`, `message` and `field`."""
        return list((self.body.get("details") or {}).get("causes") or [])


class NoAnswerError(KubeError):
    """A request to which no answer came, or whose answer ended on the way."""


class NoClusterError(KubeError):
    """The named kubeconfig or its context does not exist: on a fresh machine there is no cluster yet."""


_REMEDIES = {
    401: "renew the credentials of the kubeconfig's user",
    403: "grant the kubeconfig's user the named permission, or use another context",
}


def from_answer(what: str, status: int, text: bytes) -> KubeError:
    """The error for an HTTP answer; `what` names the request, e.g. `PATCH Deployment shop/web`."""
    body: Any = None
    with suppress(ValueError):
        body = json.loads(text)
    if not isinstance(body, dict):
        body = {}
    said = str(body.get("message") or text[:500].decode("utf-8", "replace").strip() or f"HTTP status {status}")
    return KubeError(
        f"{what} was refused by the API server: {said}",
        status=status,
        reason=str(body.get("reason") or ""),
        server_message=said,
        body=body,
        remedy=_REMEDIES.get(status),
    )
