# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Both modules where there is little: no cluster, a namespace without anything, an image that nobody runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.modules import run_module

from ansible_collections.celeryops.platform.plugins.module_utils._kube.client import Api, ObjectRef

Run = Callable[..., dict[str, Any]]
POD = {"image": "no.such.host/shop:1", "image_pull_policy": "Never", "app": "config"}
ENTRY = {"name": "a", "task": "t", "cron": "0 2 * * *"}
CALLS = [("beat_migrations", {}), ("beat_schedule", {"entries": [ENTRY]})]


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_without_a_cluster_check_mode_tells_and_the_run_fails(name: str, args: dict[str, Any], tmp_path: Path) -> None:
    given = {**POD, **args, "namespace": "shop", "kubeconfig": str(tmp_path / "none")}
    told = run_module(name, given, check=True)
    assert told["changed"] is True
    assert "cannot be told" in str(told["warnings"])
    assert "none" in run_module(name, given)["msg"]


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_check_mode_names_what_is_not_there_yet(
    name: str, args: dict[str, Any], namespace: str, kube_module: Run
) -> None:
    secret = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    given = {**POD, **args, "namespace": namespace, "config_maps": ["app-config"], "env": [secret]}
    told = kube_module(name, given, check=True)
    assert told["changed"] is True
    assert f"not there yet: ConfigMap {namespace}/app-config, Secret {namespace}/login" in str(told["warnings"])
    nowhere = kube_module(name, {**given, "namespace": "nowhere"}, check=True)
    assert "not there yet: Namespace nowhere" in str(nowhere["warnings"])


@pytest.mark.parametrize(("name", "args"), CALLS)
def test_a_pod_that_does_not_run_is_told_and_removed(
    name: str, args: dict[str, Any], namespace: str, kube_module: Run, api: Api
) -> None:
    """This API server has no kubelet, so no pod ever runs."""
    failed = kube_module(name, {**POD, **args, "namespace": namespace, "timeout": 1})
    assert failed["failed"]
    assert "did not end" in failed["msg"]
    assert api.list("v1", "Pod", namespace) == []


def test_a_look_says_that_nobody_could_be_asked(namespace: str, kube_module: Run, tmp_path: Path) -> None:
    given = {**POD, "entries": [ENTRY]}
    nobody = {"asked": False, "migrated": False, "scheduled": False, "migrations": {}, "schedule": [], "survey": {}}
    for where in ({"namespace": namespace}, {"namespace": "nowhere"}):
        told = kube_module("beat_info", {**given, **where})
        assert {key: told[key] for key in nobody} == nobody
    told = run_module("beat_info", {**given, "namespace": "shop", "kubeconfig": str(tmp_path / "none")})
    assert {key: told[key] for key in nobody} == nobody


def test_a_pod_that_the_namespace_refuses_is_told(namespace: str, kube_module: Run, api: Api) -> None:
    limits = {"type": "Container", "maxLimitRequestRatio": {"cpu": "1"}}
    metadata = {"name": "limits", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": metadata, "spec": {"limits": [limits]}})
    failed = kube_module("beat_migrations", {**POD, "namespace": namespace})
    assert "cpu max limit to request ratio per Container is 1" in failed["msg"]
    api.delete(ObjectRef("v1", "LimitRange", "limits", namespace))


@pytest.mark.parametrize("check", [True, False])
def test_bad_entries_are_refused_before_a_cluster_is_asked(check: bool) -> None:
    entries = [{**ENTRY, "priority": 11}, {**ENTRY, "cron": "0 25 * * *"}, "nonsense"]
    given = {**POD, "entries": entries, "namespace": "shop", "kubeconfig": "/nonexistent"}
    for name in ("beat_schedule", "beat_info"):
        failed = run_module(name, given, check=check)
        assert len(failed["problems"]) == 4
        assert all(problem in failed["msg"] for problem in failed["problems"])
