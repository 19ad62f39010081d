# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tests' platform as AWX' inventory describes it: what a job is told so that it finds nothing to do there."""

from __future__ import annotations

import os
import re
from typing import Any

from awx_jobs import inventory_variables
from conftest import IMAGES

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

__all__ = ["NAMESPACE", "OWN", "described", "state"]

Json = dict[str, Any]
NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
# What the platform's own inventory says beside that
OWN = {"celery_worker_profile": "small"}


def described(cluster: Api) -> Json:
    """The inventory's variables, with the images that the platform's pods run from."""
    images = {}
    for pod in cluster.list("v1", "Pod", NAMESPACE):
        for container in pod["spec"]["containers"]:
            if named := re.search(r"/celeryops/(\w+):", container["image"]):
                images[named[1]] = container["image"]
    assert set(images) == set(IMAGES)
    return inventory_variables(NAMESPACE, images) | OWN


def state(cluster: Api) -> Json:
    """What the platform is by its declarations. Data of pods, and what controllers count, is no part of it."""
    found: Json = {}
    kinds = {"Deployment": "apps/v1", "StatefulSet": "apps/v1", "ConfigMap": "v1", "Service": "v1"}
    for kind, version in kinds.items():
        for one in cluster.list(version, kind, NAMESPACE):
            found[f"{kind} {one['metadata']['name']}"] = one.get("spec", one.get("data"))
    return found
