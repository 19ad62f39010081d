# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which container may be asked in the place of a pod of one's own."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.celeryops.platform.plugins.module_utils._beat import argspec
from ansible_collections.celeryops.platform.plugins.module_utils._beat.neighbour import Neighbour, fit

PASSWORD = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "auth", "key": "password"}}}
PARAMS = {
    **{name: option.get("default") for name, option in argspec.APP_ARGS.items()},
    "namespace": "shop",
    "image": "shop:1",
    "config_maps": ["app-config"],
    "secrets": ["app-secrets"],
    "env": [PASSWORD],
}
WORKER = {
    "metadata": {"name": "worker-1"},
    "spec": {
        "containers": [
            {"name": "proxy", "image": "proxy:1"},
            {
                "name": "worker",
                "image": "shop:1",
                "envFrom": [{"configMapRef": {"name": "app-config"}}, {"secretRef": {"name": "app-secrets"}}],
                "env": [PASSWORD, {"name": "PYTHONPATH", "value": "/opt"}],
                "resources": {"limits": {"memory": "768Mi"}},
            },
        ],
    },
    "status": {"containerStatuses": [{"name": "proxy", "ready": True}, {"name": "worker", "ready": True}]},
}


def test_a_worker_of_the_same_application_is_fit() -> None:
    assert fit(WORKER, PARAMS) == Neighbour("worker-1", "worker", ("PYTHONPATH",))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pod, worker: pod["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z"),
        lambda pod, worker: pod["status"]["containerStatuses"][1].update(ready=False),
        lambda pod, worker: pod.pop("status"),
        lambda pod, worker: worker.update(image="shop:0"),
        lambda pod, worker: worker.pop("envFrom"),
        lambda pod, worker: worker["envFrom"].reverse(),
        lambda pod, worker: worker["envFrom"].append({"configMapRef": {"name": "more"}}),
        lambda pod, worker: worker.pop("env"),
        lambda pod, worker: worker["env"][0].update(valueFrom=None, value="x"),
        lambda pod, worker: worker["resources"]["limits"].update(memory="256Mi"),
    ],
)
def test_what_differs_is_not_asked(spoil: Callable[[Any, Any], Any]) -> None:
    pod: Any = copy.deepcopy(WORKER)
    spoil(pod, pod["spec"]["containers"][1])
    assert fit(pod, PARAMS) is None


def test_no_limit_leaves_room_enough() -> None:
    pod: Any = copy.deepcopy(WORKER)
    del pod["spec"]["containers"][1]["resources"]
    assert fit(pod, PARAMS) is not None
