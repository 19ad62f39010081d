# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of the settings against a real API server with a real LimitRange; the survey is a recorded one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.manifests import limit_range
from helpers.modules import ROOT, run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api

Run = Callable[..., dict[str, Any]]
DATA = ROOT / "tests/unit/plugins/module_utils/_celery/data/settings.yml"
SURVEY = yaml.safe_load(DATA.read_text(encoding="utf-8"))["agreeing"]["survey"]
POD = {"image": "no.such.host/shop:1", "image_pull_policy": "Never", "app": "config"}
POOL = {
    "name": "default",
    "queues": ["celery", "backups"],
    "replicas": 3,
    "concurrency": 4,
    "resources": {"requests": {"cpu": "400m", "memory": "512Mi"}, "limits": {"cpu": "800m", "memory": "1Gi"}},
}
POOLER = {"client_connections": 500, "pool_size": 20}


def given(namespace: str, *pools: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**POD, "namespace": namespace, "survey": SURVEY, "pools": list(pools), "pooler": POOLER, **more}


@pytest.fixture
def limited(api: Api, namespace: str) -> str:
    api.apply(limit_range(namespace), field_manager="celeryops")
    return namespace


def test_agreeing_settings_change_nothing(limited: str, kube_module: Run) -> None:
    results = [kube_module("celery_settings_check", given(limited, POOL), check=one) for one in (True, False) * 2]
    assert [one["changed"] for one in results] == [False] * 4
    assert [(one["findings"], one["unchecked"]) for one in results] == [([], [])] * 4


@pytest.mark.parametrize("check", [True, False])
def test_every_contradiction_is_told_at_once(limited: str, kube_module: Run, check: bool) -> None:
    wide = {**POOL, "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}}, "grace_period": 45}
    other = {**POOL, "name": "reports", "queues": ["celery", "report"], "kind": "threads"}
    failed = kube_module("celery_settings_check", given(limited, wide, other), check=check)
    assert failed["failed"]
    assert {(one["rule"], one["pool"]) for one in failed["findings"] if one["severity"] == "error"} == {
        ("limit-range", "default"),
        ("soft-shutdown-grace", "default"),
        ("queue-without-producer", None),
        ("queue-not-declared", None),
    }
    assert "ratio of 5" in failed["msg"]
    assert "celery_worker_grace_period" in failed["msg"]
    assert "[time-limit-not-enforced] pool reports" in str(failed["warnings"])


def test_a_waived_queue_and_no_limit_range(namespace: str, kube_module: Run) -> None:
    found = kube_module(
        "celery_settings_check", given(namespace, POOL | {"queues": ["celery"]}, queues_waived=["backups"])
    )
    assert found["findings"] == []
    assert found["unchecked"] == ["resources against a LimitRange: the namespace has none"]


def test_without_a_cluster_check_mode_leaves_it_open_and_the_run_fails(tmp_path: Path) -> None:
    call = {**given("shop", POOL), "kubeconfig": str(tmp_path / "none")}
    told = run_module("celery_settings_check", call, check=True)
    assert told["findings"] == []
    assert told["unchecked"][0].startswith("everything:")
    assert run_module("celery_settings_check", call)["findings"] == []


def test_without_a_survey_a_pod_is_asked(namespace: str, kube_module: Run, api: Api) -> None:
    """This API server has no kubelet, so no pod ever runs."""
    failed = kube_module("celery_settings_check", {**given(namespace, POOL), "survey": {}, "timeout": 1})
    assert "did not end" in failed["msg"]
    assert api.list("v1", "Pod", namespace) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "forks"}, "kind"),
        ({"max_surge": "a quarter"}, "celery_worker_max_surge"),
        ({"queues": None}, "queues"),
    ],
)
def test_bad_input(namespace: str, kube_module: Run, change: dict[str, Any], says: str) -> None:
    assert says in kube_module("celery_settings_check", given(namespace, {**POOL, **change}))["msg"]
