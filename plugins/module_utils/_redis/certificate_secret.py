# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate in a Secret, held against the names by which clients connect."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._errors import CeleryOpsError
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import ObjectRef, connect
from ansible_collections.celeryops.platform.plugins.module_utils._redis.certificate import KEYS, examine

__all__ = ["check"]


def check(params: Mapping[str, Any], result: dict[str, Any], *, check_mode: bool, warn: Callable[[str], None]) -> None:
    """The whole of module redis_certificate_check; raises CeleryOpsError where clients would not accept it."""
    api, namespace = connect(params), params["namespace"]
    if check_mode and api.get(ObjectRef("v1", "Namespace", namespace)) is None:
        result["unchecked"] = [f"everything: namespace {namespace} is not there yet"]
        return
    where = f"Secret {namespace}/{params['secret']}"
    found = api.get(ObjectRef("v1", "Secret", params["secret"], namespace))
    if found is None:
        raise CeleryOpsError(
            "There is no certificate for Redis",
            expected=f"{where} with {', '.join(KEYS)}",
            found="no such Secret",
            remedy="Let cert-manager make it, or kubectl create secret generic; the guide redis shows both.",
        )
    data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    verdict = examine(data, params["names"])
    result.update(names=list(verdict.names), expires=verdict.expires)
    if verdict.faults:
        raise CeleryOpsError(
            f"The certificate in {where} is not one that clients of Redis would accept",
            expected="; ".join(fault.expected for fault in verdict.faults),
            found="; ".join(fault.found for fault in verdict.faults),
            remedy=" ".join(fault.remedy for fault in verdict.faults),
        )
    if verdict.later:
        warn(f"Clients with Python 3.13 or later refuse the certificate in {where}: {verdict.later}.")
