# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All workers of the platform start at the same moment, ten times: as after a node's reboot or a changed ConfigMap."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._celery.collect import is_ready
from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

pytestmark = [pytest.mark.cluster, pytest.mark.platform, pytest.mark.heavy]

NAMESPACE = os.environ.get("PLATFORM_NAMESPACE", "jewelry-shop")
WORKERS = ObjectRef("apps/v1", "Deployment", "celery-worker", NAMESPACE)
STARTS = 10
DEADLINE = 300
# From the end of the stagger: the import of a Django application, three at a time on two cores
READY_WITHIN = 33


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def seconds_to_ready(pod: dict[str, Any]) -> float:
    """From the end of its last init container, which is the stagger, to its readiness."""
    stagger = pod["status"]["initContainerStatuses"][-1]["state"]["terminated"]
    (ready,) = (one for one in pod["status"]["conditions"] if one["type"] == "Ready")
    return (moment(ready["lastTransitionTime"]) - moment(stagger["finishedAt"])).total_seconds()


def test_simultaneous_starts_end_in_no_restart(cluster: Api) -> None:
    found = cluster.get(WORKERS)
    assert found is not None
    wanted = found["spec"]["replicas"]
    assert wanted >= 3
    took: list[float] = []
    for _start in range(STARTS):
        before = cluster.list("v1", "Pod", NAMESPACE, label_selector="component=celery-worker")
        gone = {pod["metadata"]["uid"] for pod in before}
        for pod in before:
            cluster.delete(ObjectRef.of(pod))
        end = time.monotonic() + DEADLINE
        while True:
            pods = cluster.list("v1", "Pod", NAMESPACE, label_selector="component=celery-worker")
            fresh = [pod for pod in pods if pod["metadata"]["uid"] not in gone]
            if len(pods) == len(fresh) == sum(map(is_ready, fresh)) == wanted:
                break
            assert time.monotonic() < end, f"{sum(map(is_ready, fresh))} of {wanted} are ready after {DEADLINE} s"
            time.sleep(1)
        statuses = [one for pod in fresh for one in pod["status"]["containerStatuses"]]
        assert [one["restartCount"] for one in statuses] == [0] * wanted
        took += [seconds_to_ready(pod) for pod in fresh]
    print(f"{len(took)} starts, seconds from the stagger's end to readiness: {sorted(took)}")
    assert max(took) <= READY_WITHIN
