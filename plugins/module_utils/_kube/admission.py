# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Pod that a workload's template would make, to ask the server about before the workload is applied. Pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from .order import pod_template
from .resources import Json

__all__ = ["sample_pod"]


def sample_pod(workload: Mapping[str, Any]) -> Json | None:
    """A Pod as the workload's controller would make it; None for kinds that make none."""
    template = pod_template(workload)
    if template is None:
        return None
    metadata = copy.deepcopy(template.get("metadata") or {})
    # The name is long enough to be nobody else's and short enough for every kind.
    name = f"{workload['metadata']['name'][:200]}-admission-check"
    metadata.update(name=name, namespace=workload["metadata"].get("namespace"))
    spec = copy.deepcopy(template.get("spec") or {})
    claims = (workload.get("spec") or {}).get("volumeClaimTemplates") or []
    if workload["kind"] == "StatefulSet" and claims:
        # The controller adds these volumes; without them the mounts would refer to nothing.
        spec["volumes"] = [
            *(spec.get("volumes") or []),
            *(
                {"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}
                for claim in claims
            ),
        ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
