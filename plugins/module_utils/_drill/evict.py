# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A pod asked to leave by the API for that, which honours disruption budgets."""

from __future__ import annotations

from typing import Any

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef
from ansible_collections.celeryops.platform.plugins.module_utils._kube.errors import KubeError

__all__ = ["evicted"]

Json = dict[str, Any]
TOO_MANY_REQUESTS = 429


def evicted(api: Api, victim: Json) -> bool:
    """Whether the pod leaves; False while a disruption budget lets it wait. A pod that is gone has left."""
    meta = victim["metadata"]
    ref = ObjectRef("v1", "Pod", meta["name"], meta["namespace"])
    body = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        # Another pod may have taken the name.
        "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
    }
    try:
        api.request("POST", api.path(ref, "eviction"), body=body, what=f"eviction of {ref}")
    except KubeError as error:
        if error.status == TOO_MANY_REQUESTS:
            return False
        if not error.not_found and not error.conflict:
            raise
    return True
