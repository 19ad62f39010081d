# Copyright: The celeryops maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role makes of one beat and of several: in check mode, by an API server that has to take every object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from test_worker_pools import play

NAME = "celery-beat"


@pytest.fixture
def made(tmp_path: Path, api_server: Any, namespace: str) -> Any:
    def run(**variables: Any) -> dict[str, dict[str, Any]]:
        status, results, printed = play(tmp_path, Path(api_server.kubeconfig), namespace, variables, role="celery_beat")
        assert status == 0, printed
        result = next(result for task, result in results.items() if "Apply beat" in task)
        found = [yaml.safe_load(each["after"]) for each in result["diff"]]
        assert all(each["metadata"]["name"] == NAME for each in found if each["kind"] != "ConfigMap")
        return {each["kind"]: each for each in found if each["kind"] != "ConfigMap"}

    return run


def environment(deployment: dict[str, Any]) -> dict[str, Any]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_one_is_recreated_and_may_do_nothing(made: Any) -> None:
    found = made()
    assert set(found) == {"Deployment"}
    spec = found["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    pod = spec["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    # said outright: left out, the API server would refill it from its older name
    assert pod["serviceAccountName"] == "default"
    assert "affinity" not in pod
    given = environment(found["Deployment"])
    assert given["CELERYOPS_CLAIMS"] == "1"
    assert given["CELERYOPS_IDENTITY"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert not [name for name in given if name.startswith("CELERYOPS_LEASE")]


def test_more_elect_the_one_that_acts(made: Any, namespace: str) -> None:
    found = made(celery_beat_replicas=2, celery_beat_lease_duration=20, celery_beat_claims=False)
    assert set(found) == {"ServiceAccount", "Role", "RoleBinding", "Lease", "Deployment", "PodDisruptionBudget"}
    assert found["Role"]["rules"] == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [NAME],
            "verbs": ["get", "update"],
        }
    ]
    spec = found["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    pod = spec["template"]["spec"]
    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == (NAME, True)
    assert "podAntiAffinity" in pod["affinity"]
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] == 1
    given = environment(found["Deployment"])
    assert given["CELERYOPS_LEASE"] == f"{namespace}/{NAME}"
    assert (given["CELERYOPS_LEASE_DURATION"], given["CELERYOPS_LEASE_RETRY"]) == ("20", "2")
    assert given["CELERYOPS_CLAIMS"] == "0"


def test_one_may_be_elected_too(made: Any) -> None:
    found = made(celery_beat_election=True)
    assert set(found) == {"ServiceAccount", "Role", "RoleBinding", "Lease", "Deployment"}
    assert found["Deployment"]["spec"]["strategy"]["type"] == "RollingUpdate"


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"celery_beat_replicas": 2, "celery_beat_election": False}, "schedulers would act at once"),
        ({"celery_beat_lease_duration": 10}, "celery_beat_lease_renew_within <"),
        ({"celery_beat_lease_retry": 10}, "celery_beat_lease_retry <"),
    ],
)
def test_what_lets_two_act_is_refused(
    tmp_path: Path, api_server: Any, namespace: str, variables: dict[str, Any], why: str
) -> None:
    status, _results, printed = play(tmp_path, Path(api_server.kubeconfig), namespace, variables, role="celery_beat")
    assert status != 0
    assert why in printed
